// Drives an S3 endpoint with aws-sdk-js v3. Usage: node session.js ENDPOINT; the credentials come from the environment.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import * as sdk from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = "js-bucket";
const s3 = new sdk.S3Client({ endpoint: process.argv[2], region: "us-east-1", forcePathStyle: true, maxAttempts: 1 });
// call sends a command, as in call("PutObject", {...}).
const call = (name, input) => s3.send(new sdk[name + "Command"]({ Bucket, ...input }));
const text = async (input) => (await call("GetObject", input)).Body.transformToString();

async function fails(code, promise) {
  await assert.rejects(promise, (e) => {
    assert.equal(e.name, code, `${e}`);
    return true;
  });
}

const data = Buffer.alloc((10 << 20) + 4321); // 3 parts of 5 MiB
for (let i = 0; i < data.length; i += 4) data.writeUInt32LE(Math.imul(i, 2654435761) >>> 0, Math.min(i, data.length - 4));
const sum = (bytes) => createHash("sha256").update(bytes).digest("hex");

// buckets
await call("CreateBucket");
assert((await call("ListBuckets")).Buckets.some((b) => b.Name === Bucket));
await call("HeadBucket");
await fails("NotFound", call("HeadBucket", { Bucket: "js-no-such-bucket" }));
await fails("NoSuchBucket", call("ListObjectsV2", { Bucket: "js-no-such-bucket" }));
await call("CreateBucket"); // again, as in us-east-1
await fails("BucketAlreadyOwnedByYou", call("CreateBucket", { ObjectLockEnabledForBucket: true }));

// an object: the SDK sends a CRC32, of a stream in a trailer, and checks the one that comes back
let put = await call("PutObject", { Key: "sp ace/ä+日?", Body: "hello", ContentType: "text/x", CacheControl: "no-store", Metadata: { a: "b" } });
assert(put.ETag && put.ChecksumCRC32 === "NhCmhg==", JSON.stringify(put));
put = await call("PutObject", { Key: "stream", Body: Readable.from(data), ContentLength: data.length, ChecksumAlgorithm: "CRC32" });
assert(put.ChecksumCRC32);
let got = await call("GetObject", { Key: "sp ace/ä+日?", ChecksumMode: "ENABLED" });
assert.equal(await got.Body.transformToString(), "hello");
assert.deepEqual([got.ContentType, got.CacheControl, got.Metadata, got.ContentLength, got.ChecksumCRC32], ["text/x", "no-store", { a: "b" }, 5, "NhCmhg=="]);
got = await call("GetObject", { Key: "stream" });
assert.equal(sum(await got.Body.transformToByteArray()), sum(data));
for (const ChecksumAlgorithm of ["CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
  put = await call("PutObject", { Key: "checked", Body: ChecksumAlgorithm, ChecksumAlgorithm });
  assert(put["Checksum" + ChecksumAlgorithm], JSON.stringify(put));
  const head = await call("HeadObject", { Key: "checked", ChecksumMode: "ENABLED" });
  assert.equal(head["Checksum" + ChecksumAlgorithm], put["Checksum" + ChecksumAlgorithm]);
  assert.equal(await text({ Key: "checked" }), ChecksumAlgorithm);
}
await fails("BadDigest", call("PutObject", { Key: "checked", Body: "hello", ChecksumCRC32: "AAAAAA==" }));
await fails("NoSuchKey", call("GetObject", { Key: "absent" }));
await fails("NotFound", call("HeadObject", { Key: "absent" }));
for (const [Range, want] of [["bytes=1-3", "ell"], ["bytes=-2", "lo"], ["bytes=3-", "lo"]]) {
  got = await call("GetObject", { Key: "sp ace/ä+日?", Range });
  assert.equal(await got.Body.transformToString(), want);
  assert.equal(got.$metadata.httpStatusCode, 206);
}
await fails("InvalidRange", call("GetObject", { Key: "sp ace/ä+日?", Range: "bytes=9-" }));

// conditions
await fails("PreconditionFailed", call("PutObject", { Key: "stream", Body: "x", IfNoneMatch: "*" }));
put = await call("PutObject", { Key: "cond", Body: "1", IfNoneMatch: "*" });
await fails("PreconditionFailed", call("PutObject", { Key: "cond", Body: "2", IfMatch: '"x"' }));
await call("PutObject", { Key: "cond", Body: "2", IfMatch: put.ETag });
await fails("PreconditionFailed", call("GetObject", { Key: "cond", IfMatch: put.ETag }));
await fails("PreconditionFailed", call("DeleteObject", { Key: "cond", IfMatch: put.ETag }));

// in parts
const upload = new Upload({ client: s3, params: { Bucket, Key: "big", Body: Readable.from(data), Metadata: { c: "d" } }, partSize: 5 << 20, queueSize: 3 });
let done = await upload.done();
assert(done.ETag.endsWith('-3"'), done.ETag);
got = await call("GetObject", { Key: "big" });
assert.equal(sum(await got.Body.transformToByteArray()), sum(data));
assert.deepEqual([got.Metadata, (await call("HeadObject", { Key: "big", PartNumber: 3 })).ContentLength], [{ c: "d" }, 4321]);
const pending = await call("CreateMultipartUpload", { Key: "pending" });
await call("UploadPart", { Key: "pending", UploadId: pending.UploadId, PartNumber: 1, Body: "x" });
assert.equal((await call("ListParts", { Key: "pending", UploadId: pending.UploadId })).Parts[0].Size, 1);
assert.equal((await call("ListMultipartUploads")).Uploads.length, 1);
await call("AbortMultipartUpload", { Key: "pending", UploadId: pending.UploadId });
assert.equal((await call("ListMultipartUploads")).Uploads, undefined);

// copies
await call("CopyObject", { Key: "copy", CopySource: `${Bucket}/big` });
got = await call("HeadObject", { Key: "copy" });
assert.deepEqual([got.ETag, got.Metadata], [done.ETag, { c: "d" }]);
await call("CopyObject", { Key: "copy", CopySource: encodeURI(`${Bucket}/sp ace/ä+日`) + "%3F", MetadataDirective: "REPLACE", Metadata: { e: "f" } });
assert.deepEqual([await text({ Key: "copy" }), (await call("HeadObject", { Key: "copy" })).Metadata], ["hello", { e: "f" }]);

// lists
const keys = Array.from({ length: 25 }, (_, i) => `list/${String(i).padStart(2, "0")}`);
await Promise.all(keys.map((Key) => call("PutObject", { Key, Body: Key })));
let listed = [], pages = 0;
for await (const page of sdk.paginateListObjectsV2({ client: s3, pageSize: 10 }, { Bucket, Prefix: "list/" })) {
  listed.push(...page.Contents.map((o) => o.Key));
  pages++;
}
assert.deepEqual([listed, pages], [keys, 3]);
got = await call("ListObjectsV2", { Delimiter: "/" });
assert.deepEqual(got.CommonPrefixes, [{ Prefix: "list/" }, { Prefix: "sp ace/" }]);

// tags
const TagSet = [{ Key: "a", Value: "1" }, { Key: "b", Value: "2 +" }];
await call("PutObjectTagging", { Key: "copy", Tagging: { TagSet } });
assert.deepEqual((await call("GetObjectTagging", { Key: "copy" })).TagSet, TagSet);
got = await call("GetObject", { Key: "copy" });
assert.deepEqual([await got.Body.transformToString(), got.TagCount], ["hello", 2]);
await call("DeleteObjectTagging", { Key: "copy" });
assert.deepEqual((await call("GetObjectTagging", { Key: "copy" })).TagSet, []);
await call("PutObject", { Key: "copy", Body: "x", Tagging: "a=1&b=2%20%2B" });
assert.deepEqual((await call("GetObjectTagging", { Key: "copy" })).TagSet, TagSet);
await call("PutBucketTagging", { Tagging: { TagSet } });
assert.deepEqual((await call("GetBucketTagging")).TagSet, TagSet);
await call("DeleteBucketTagging");
await fails("NoSuchTagSet", call("GetBucketTagging"));

// append and rename
await call("PutObject", { Key: "log", Body: "one ", WriteOffsetBytes: 0 });
assert.equal((await call("PutObject", { Key: "log", Body: "two", WriteOffsetBytes: 4 })).Size, 7);
await fails("InvalidWriteOffset", call("PutObject", { Key: "log", Body: "x", WriteOffsetBytes: 3 }));
await call("RenameObject", { Key: "renamed ä", RenameSource: `/${Bucket}/log` });
assert.equal(await text({ Key: "renamed ä" }), "one two");
await fails("NoSuchKey", call("GetObject", { Key: "log" }));

// what anybody may do who has a URL or a form
const http = async (url, options) => {
  const answer = await fetch(url, options);
  return [answer.status, await answer.text()];
};
const url = await getSignedUrl(s3, new sdk.PutObjectCommand({ Bucket, Key: "by URL", ContentType: "text/x", Metadata: { a: "b" } }), { expiresIn: 60, signableHeaders: new Set(["content-type"]) });
assert.deepEqual(await http(url, { method: "PUT", body: "by a URL", headers: { "content-type": "text/x" } }), [200, ""]);
assert.equal((await http(url, { method: "PUT", body: "by a URL", headers: { "content-type": "text/html" } }))[0], 403);
got = await call("HeadObject", { Key: "by URL" });
assert.deepEqual([got.ContentType, got.Metadata], ["text/x", { a: "b" }]);
const link = await getSignedUrl(s3, new sdk.GetObjectCommand({ Bucket, Key: "by URL", ResponseContentType: "text/y" }), { expiresIn: 60 });
assert.deepEqual(await http(link), [200, "by a URL"]);
assert.equal((await http(link + "x"))[0], 403);
const post = await createPresignedPost(s3, { Bucket, Key: "form/${filename}", Conditions: [["content-length-range", 1, 100], { success_action_status: "201" }], Fields: { success_action_status: "201" } });
const form = (body, more = {}) => {
  const f = new FormData();
  for (const [name, value] of Object.entries({ ...post.fields, ...more })) f.append(name, value);
  f.append("file", new Blob([body]), "a b.txt");
  return http(post.url, { method: "POST", body: f });
};
let [status, answer] = await form("by a form");
assert(status === 201 && answer.includes("<Key>form/a b.txt</Key>"), answer);
assert.equal(await text({ Key: "form/a b.txt" }), "by a form");
for (const [code, refused] of [["EntityTooLarge", await form("x".repeat(101))], ["AccessDenied", await form("x", { key: "other" })]]) assert(refused[1].includes(code), refused[1]);

// many deletes
const all = (await call("ListObjectsV2")).Contents.map(({ Key }) => ({ Key }));
const deleted = await call("DeleteObjects", { Delete: { Objects: [...all, { Key: "absent" }] } });
assert.deepEqual([deleted.Errors, deleted.Deleted.length], [undefined, all.length + 1]);
await call("DeleteBucket");

// versions and locks
const locked = { Bucket: "js-locked" };
const lock = (name, input) => call(name, { ...locked, Key: "k", ...input });
await call("CreateBucket", { ...locked, ObjectLockEnabledForBucket: true });
assert.equal((await call("GetBucketVersioning", locked)).Status, "Enabled");
await call("PutObjectLockConfiguration", { ...locked, ObjectLockConfiguration: { ObjectLockEnabled: "Enabled", Rule: { DefaultRetention: { Mode: "GOVERNANCE", Days: 1 } } } });
assert.equal((await call("GetObjectLockConfiguration", locked)).ObjectLockConfiguration.Rule.DefaultRetention.Days, 1);
const versions = [];
for (const Body of ["one", "two"]) versions.push((await lock("PutObject", { Body })).VersionId);
versions.push((await lock("DeleteObject")).VersionId);
await fails("NoSuchKey", lock("GetObject"));
assert.equal(await text({ ...locked, Key: "k", VersionId: versions[0] }), "one");
listed = [];
for (let page = { IsTruncated: true }; page.IsTruncated; ) {
  page = await call("ListObjectVersions", { ...locked, MaxKeys: 1, KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker });
  listed.push(...(page.DeleteMarkers ?? []), ...(page.Versions ?? []));
}
assert.deepEqual(listed.map((v) => v.VersionId), [...versions].reverse());
await lock("DeleteObject", { VersionId: versions[2] });
assert.equal(await text({ ...locked, Key: "k" }), "two");

const [VersionId, second] = versions;
assert.equal((await lock("GetObjectRetention", { VersionId })).Retention.Mode, "GOVERNANCE");
await fails("AccessDenied", lock("DeleteObject", { VersionId }));
await fails("AccessDenied", lock("PutObjectRetention", { VersionId, Retention: { Mode: "GOVERNANCE", RetainUntilDate: new Date(Date.now() + 60_000) } }));
await lock("PutObjectRetention", { VersionId, BypassGovernanceRetention: true, Retention: {} });
await lock("PutObjectLegalHold", { VersionId, LegalHold: { Status: "ON" } });
assert.equal((await lock("HeadObject", { VersionId })).ObjectLockLegalHoldStatus, "ON");
await fails("AccessDenied", lock("DeleteObject", { VersionId, BypassGovernanceRetention: true }));
await lock("PutObjectLegalHold", { VersionId, LegalHold: { Status: "OFF" } });
await lock("DeleteObject", { VersionId });
let batch = await call("DeleteObjects", { ...locked, Delete: { Objects: [{ Key: "k", VersionId: second }] } });
assert.deepEqual([batch.Errors[0].Code, batch.Deleted], ["AccessDenied", undefined]);
const until = new Date(Date.now() + 3_600_000);
const kept = await lock("PutObject", { Body: "x", ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: until, ObjectLockLegalHoldStatus: "OFF" });
await fails("AccessDenied", lock("DeleteObject", { VersionId: kept.VersionId, BypassGovernanceRetention: true }));
got = await lock("HeadObject");
assert.deepEqual([got.ObjectLockMode, Math.trunc(got.ObjectLockRetainUntilDate / 1000)], ["COMPLIANCE", Math.trunc(until / 1000)]);
batch = await call("DeleteObjects", { ...locked, BypassGovernanceRetention: true, Delete: { Objects: [{ Key: "k", VersionId: second }] } });
assert.equal(batch.Errors, undefined);
await fails("BucketNotEmpty", call("DeleteBucket", locked));
console.log("everything holds");
