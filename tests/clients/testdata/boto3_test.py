"""Drives an S3 endpoint with boto3. Usage: boto3_test.py ENDPOINT; the credentials come from the environment."""
import hashlib
import io
import sys

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

fails("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
control = [k for k in odd if "\x01" in k]  # XML cannot carry these
for key in control:
    s3.delete_object(Bucket=BUCKET, Key=key)
answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": k} for k in odd + ["big", "cond", "absent"] if k not in control]})
assert "Errors" not in answer and len(answer["Deleted"]) == len(odd) + 3 - len(control), answer
s3.delete_bucket(Bucket=BUCKET)
print("everything holds")
