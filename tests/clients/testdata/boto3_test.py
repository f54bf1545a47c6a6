"""Drives an S3 endpoint with boto3. Usage: boto3_test.py ENDPOINT; the credentials come from the environment."""
import base64
import datetime
import hashlib
import io
import os
import sys
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
BUCKET = "boto3-bucket"


def fails(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError("no error, but %s was expected" % code)


s3.create_bucket(Bucket=BUCKET)
assert BUCKET in [b["Name"] for b in s3.list_buckets()["Buckets"]]
s3.head_bucket(Bucket=BUCKET)

odd = ["a", "a/b", "a//b", "../up", "./here", "/lead", "trail/", "sp ace", "plus+", "100%", "uml\u00e4ut", "\u65e5\u672c", "q?&=#", "nl\nx", "\x01ctl"]
for key in odd:
    s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata={"n": str(len(key))}, ContentType="text/x")
listed = []
for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 4}):
    listed += [o["Key"] for o in page.get("Contents", [])]
assert listed == sorted(odd, key=lambda k: k.encode()), listed
for key in odd:
    got = s3.get_object(Bucket=BUCKET, Key=key)
    assert got["Body"].read() == key.encode() and got["Metadata"] == {"n": str(len(key))} and got["ContentType"] == "text/x", key
assert [o["Key"] for o in s3.list_objects(Bucket=BUCKET, Prefix="a/", Delimiter="/")["Contents"]] == ["a/b"]
assert s3.list_objects_v2(Bucket=BUCKET, Prefix="a/", Delimiter="/")["CommonPrefixes"] == [{"Prefix": "a//"}]

data = bytes(range(256)) * (80 << 10)  # 20 MiB
s3.upload_fileobj(io.BytesIO(data), BUCKET, "big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
out = io.BytesIO()
s3.download_fileobj(BUCKET, "big", out, Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
assert hashlib.sha256(out.getvalue()).digest() == hashlib.sha256(data).digest()
assert s3.head_object(Bucket=BUCKET, Key="big")["ETag"].endswith('-4"')
part = s3.get_object(Bucket=BUCKET, Key="big", Range="bytes=300-309")
assert part["Body"].read() == data[300:310] and part["ContentRange"] == "bytes 300-309/%d" % len(data)

tag = s3.put_object(Bucket=BUCKET, Key="cond", Body=b"1")["ETag"]
fails("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="cond", Body=b"2", IfNoneMatch="*")
fails("304", s3.get_object, Bucket=BUCKET, Key="cond", IfNoneMatch=tag)
fails("PreconditionFailed", s3.get_object, Bucket=BUCKET, Key="cond", IfMatch='"x"')
fails("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="absent")
fails("404", s3.head_object, Bucket=BUCKET, Key="absent")
fails("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket-here")
copied = s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=BUCKET + "/cond", MetadataDirective="REPLACE", Metadata={"a": "b"}, ContentType="text/x")
assert copied["CopyObjectResult"]["ETag"] == tag, copied
copied = s3.get_object(Bucket=BUCKET, Key="copy")
assert copied["Body"].read() == b"1" and copied["Metadata"] == {"a": "b"} and copied["ContentType"] == "text/x", copied
fails("InvalidRequest", s3.copy_object, Bucket=BUCKET, Key="cond", CopySource=BUCKET + "/cond")
fails("NoSuchKey", s3.copy_object, Bucket=BUCKET, Key="copy", CopySource=BUCKET + "/absent")
fails("PreconditionFailed", s3.copy_object, Bucket=BUCKET, Key="copy", CopySource=BUCKET + "/cond", CopySourceIfNoneMatch=tag)
s3.copy({"Bucket": BUCKET, "Key": "big"}, BUCKET, "big copy", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=6 << 20))
assert hashlib.sha256(s3.get_object(Bucket=BUCKET, Key="big copy")["Body"].read()).digest() == hashlib.sha256(data).digest()
for key in ("copy", "big copy"):
    s3.delete_object(Bucket=BUCKET, Key=key)
fails("NotImplemented", s3.put_object, Bucket=BUCKET, Key="cond", Body=b"2", ServerSideEncryption="AES256")
fails("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=BUCKET)
assert s3.get_object(Bucket=BUCKET, Key="cond")["Body"].read() == b"1"

upload = s3.create_multipart_upload(Bucket=BUCKET, Key="pending")["UploadId"]
assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == [upload]
s3.upload_part(Bucket=BUCKET, Key="pending", UploadId=upload, PartNumber=1, Body=b"x")
assert [p["PartNumber"] for p in s3.list_parts(Bucket=BUCKET, Key="pending", UploadId=upload)["Parts"]] == [1]
s3.abort_multipart_upload(Bucket=BUCKET, Key="pending", UploadId=upload)

# Signature Version 2, in headers and in the query
for version in ("s3", "s3-query"):
    old = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(signature_version=version, s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
    old.put_object(Bucket=BUCKET, Key="v2 \u00e4", Body=version.encode(), Metadata={"n": "1"}, ContentType="text/x", ContentMD5=base64.b64encode(hashlib.md5(version.encode()).digest()).decode())
    assert old.get_object(Bucket=BUCKET, Key="v2 \u00e4", ResponseContentType="text/y; a=b")["ContentType"] == "text/y; a=b"
    assert s3.get_object(Bucket=BUCKET, Key="v2 \u00e4")["Body"].read() == version.encode()
    assert "v2 \u00e4" in [o["Key"] for o in old.list_objects_v2(Bucket=BUCKET, Prefix="v2")["Contents"]]
    old.upload_fileobj(io.BytesIO(data), BUCKET, "v2 big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
    assert hashlib.sha256(old.get_object(Bucket=BUCKET, Key="v2 big")["Body"].read()).digest() == hashlib.sha256(data).digest()
    old.put_object_tagging(Bucket=BUCKET, Key="v2 big", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert "Errors" not in old.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "v2 \u00e4"}, {"Key": "v2 big"}]})


def http(method, url, body=None, headers={}):
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


wrong = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="another-secret", config=Config(signature_version="s3", s3={"addressing_style": "path"}))
fails("SignatureDoesNotMatch", wrong.list_objects, Bucket=BUCKET)
for version in ("s3", "s3v4"):
    signer = boto3.client("s3", endpoint_url=sys.argv[1], config=Config(signature_version=version, s3={"addressing_style": "path"}))
    arguments = {"Bucket": BUCKET, "Key": "signed", "ContentType": "text/x", "Metadata": {"a": "b"}}
    put = signer.generate_presigned_url("put_object", Params=arguments, ExpiresIn=60)
    headers = {"Content-Type": "text/x", "x-amz-meta-a": "b"}
    assert http("PUT", put, b"by a URL", headers)[0] == 200
    assert http("PUT", put, b"by a URL", {"Content-Type": "text/html", "x-amz-meta-a": "b"})[0] in (400, 403)
    got = s3.get_object(Bucket=BUCKET, Key="signed")
    assert got["Body"].read() == b"by a URL" and got["Metadata"] == {"a": "b"} and got["ContentType"] == "text/x", got
    get = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "signed"}, ExpiresIn=60)
    assert http("GET", get) == (200, b"by a URL")
    assert http("GET", get + "&versionId=null")[0] == 403
    assert http("PUT", get, b"x")[0] == 403

    # a form of a browser
    fields = {"acl": "private", "success_action_status": "201"}
    form = signer.generate_presigned_post(BUCKET, "form/${filename}", Fields=dict(fields), Conditions=[{k: v} for k, v in fields.items()] + [["content-length-range", 1, len(data)]])

    def upload(content, **more):
        parts = b"".join(b'--xx\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (k.encode(), v.encode()) for k, v in {**form["fields"], **more}.items())
        parts += b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a b.txt"\r\nContent-Type: text/plain\r\n\r\n' + content + b"\r\n--xx--\r\n"
        return http("POST", form["url"], parts, {"Content-Type": "multipart/form-data; boundary=xx"})

    for content in (b"x", data):
        status, answer = upload(content)
        assert status == 201 and b"<Key>form/a b.txt</Key>" in answer, answer
        assert s3.get_object(Bucket=BUCKET, Key="form/a b.txt")["Body"].read() == content
    for code, refused in ((b"EntityTooSmall", upload(b"")), (b"AccessDenied", upload(b"x", key="other")), (b"AccessDenied", upload(b"x", **{"x-amz-meta-a": "b"})), (b"EntityTooLarge", upload(data + b"x"))):
        assert code in refused[1] and refused[0] in (400, 403), refused
    for key in ("signed", "form/a b.txt"):
        s3.delete_object(Bucket=BUCKET, Key=key)

# append
append = {"Bucket": BUCKET, "Key": "log"}
s3.put_object(Body=b"one ", WriteOffsetBytes=0, **append)
assert s3.put_object(Body=b"two", WriteOffsetBytes=4, **append)["Size"] == 7
fails("InvalidWriteOffset", s3.put_object, Body=b"x", WriteOffsetBytes=4, **append)
assert s3.get_object(**append)["Body"].read() == b"one two"
s3.rename_object(Bucket=BUCKET, Key="log \u00e4", RenameSource="/%s/log" % BUCKET)
fails("NoSuchKey", s3.get_object, **append)
assert s3.get_object(Bucket=BUCKET, Key="log \u00e4")["Body"].read() == b"one two"
s3.delete_object(Bucket=BUCKET, Key="log \u00e4")

fails("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
control = [k for k in odd if "\x01" in k]  # XML cannot carry these
for key in control:
    s3.delete_object(Bucket=BUCKET, Key=key)
answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in odd + ["big", "cond", "absent"] if k not in control]})
assert "Errors" not in answer and len(answer["Deleted"]) == len(odd) + 3 - len(control), answer
s3.delete_bucket(Bucket=BUCKET)

# object lock
LOCKED = "boto3-locked"
soon = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(hours=1)
s3.create_bucket(Bucket=LOCKED, ObjectLockEnabledForBucket=True)
fails("InvalidBucketState", s3.put_bucket_versioning, Bucket=LOCKED, VersioningConfiguration={"Status": "Suspended"})
s3.put_object_lock_configuration(Bucket=LOCKED, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
assert s3.get_object_lock_configuration(Bucket=LOCKED)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 1}
version = {"Bucket": LOCKED, "Key": "k"}
version["VersionId"] = s3.put_object(Body=b"by default", **version)["VersionId"]
assert s3.get_object_retention(**version)["Retention"]["Mode"] == "GOVERNANCE"
fails("AccessDenied", s3.delete_object, **version)
errors = s3.delete_objects(Bucket=LOCKED, Delete={"Objects": [{"Key": "k", "VersionId": version["VersionId"]}]})["Errors"]
assert [e["Code"] for e in errors] == ["AccessDenied"], errors
fails("AccessDenied", s3.put_object_retention, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon}, **version)
s3.put_object_retention(Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon}, BypassGovernanceRetention=True, **version)
assert s3.get_object_retention(**version)["Retention"]["RetainUntilDate"] == soon
s3.put_object_legal_hold(LegalHold={"Status": "ON"}, **version)
assert s3.get_object_legal_hold(**version)["LegalHold"] == {"Status": "ON"}
fails("AccessDenied", s3.delete_object, BypassGovernanceRetention=True, **version)
s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **version)
s3.delete_object(BypassGovernanceRetention=True, **version)
fails("InvalidBucketState", s3.put_object, Bucket=LOCKED, Key="k", Body=b"x", WriteOffsetBytes=0)
for more in ({"Body": b"x"}, {}):  # in one request, and in parts
    lock = {"Bucket": LOCKED, "Key": "k", "ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon, "ObjectLockLegalHoldStatus": "OFF"}
    if more:
        s3.put_object(**lock, **more)
    else:
        s3.upload_fileobj(io.BytesIO(data), LOCKED, "k", ExtraArgs={k: v for k, v in lock.items() if k.startswith("Object")}, Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=10 << 20))
    head = s3.head_object(Bucket=LOCKED, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", soon, "OFF"), head
    fails("AccessDenied", s3.delete_object, Bucket=LOCKED, Key="k", VersionId=head["VersionId"])
    s3.delete_object(Bucket=LOCKED, Key="k", VersionId=head["VersionId"], BypassGovernanceRetention=True)
fields = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": soon.strftime("%Y-%m-%dT%H:%M:%SZ")}
form = s3.generate_presigned_post(LOCKED, "form", Fields=dict(fields), Conditions=[{k: v} for k, v in fields.items()])
status, answer = upload(b"x", **{"x-amz-checksum-crc32": "jNwWgw=="})
assert status == 204, answer
head = s3.head_object(Bucket=LOCKED, Key="form")
assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", soon), head
fails("AccessDenied", s3.delete_object, Bucket=LOCKED, Key="form", VersionId=head["VersionId"], BypassGovernanceRetention=True)
print("everything holds")
