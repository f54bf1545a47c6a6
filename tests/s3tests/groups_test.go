package s3tests_test

import (
	"regexp"
	"slices"
)

// group is a set of tests about one subject. A test belongs to the first group that claims it: by its file, by a marker of the suite, or
// by what follows test_ in its name.
type group struct {
	name    string
	files   []string
	markers []string
	names   *regexp.Regexp // matched at the beginning
}

func named(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)`) }

// groups are in the order in which they claim.
var groups = []group{
	{name: "notification", files: []string{"test_sns.py"}},
	{name: "select", files: []string{"test_s3select.py"}},
	{name: "sts", files: []string{"test_sts.py"}},
	{name: "iam", files: []string{"test_iam.py"}},
	{name: "logging", markers: []string{"bucket_logging", "bucket_logging_cleanup"}},
	{name: "cloud tier", markers: []string{"cloud_transition", "cloud_restore"}},
	{name: "lifecycle", markers: []string{"lifecycle"}},
	{name: "post", names: named("post_object_")},
	{name: "cors", names: named("cors_|set_cors")},
	{name: "sse-s3", markers: []string{"sse_s3"}},
	{name: "sse-c/kms", markers: []string{"encryption", "bucket_encryption"}, names: named("sse_|encryption_|encrypted_|put_obj_enc|get_sse_c|get_object_attributes_sse")},
	{name: "lock", markers: []string{"object_lock"}, names: named("object_lock_")},
	{name: "ownership", markers: []string{"object_ownership"}},
	{name: "public access block", names: named("get_undefined_public_block|get_public_block|put_public_block|block_public_|ignore_public_acls|put_get_delete_public_block")},
	{name: "policy", markers: []string{"bucket_policy"}, names: named("bucket_policy|bucketv2_policy|get_bucket_policy|get_public_acl_bucket_policy|get_authpublic|get_publicpolicy|get_nonpublicpolicy|multipart_upload_on_a_bucket_with_policy|head_object_404_with_policy")},
	{name: "tagging", markers: []string{"tagging"}, names: named("(set|put|get|delete)_[a-z_]*tag")},
	{name: "checksum", markers: []string{"checksum"}},
	{name: "conditional", markers: []string{"conditional_write"}, names: named("get_object_if|put_object_if")},
	{name: "copy", markers: []string{"copy"}, names: named("object_copy_|upload_part_copy_|copy_")},
	{name: "atomic", names: named("atomic_")},
	{name: "range", names: named("ranged_")},
	{name: "versioning", markers: []string{"delete_marker"}, names: named("version")},
	{name: "acl", names: named("access_bucket_|bucket_acl_|object_acl|bucket_header_acl|object_header_acl|put_bucket_acl|bucket_recreate_(overwrite|new)_acl|bucket_concurrent_set_canned_acl|object_put_acl_mtime")},
	{name: "presigned/raw", names: named("object_raw_|object_presigned_|object_anon_|object_put_authenticated")},
	{name: "headers/auth", files: []string{"test_headers.py"}, names: named("100_continue|object_content_encoding_aws_chunked|object_requestid_")},
	{name: "list-buckets", names: named("list_buckets|buckets_|account_usage")},
	{name: "list", markers: []string{"list_objects_v2"}, names: named("bucket_listv?2?_|bucketv?2?_notexist|basic_key_count")},
	{name: "multipart", names: named("multipart_|abort_multipart|list_multipart|non_multipart|get_[a-z_]*multipart")},
	{name: "bucket", names: named("bucket_|create_bucket|delete_bucket|head_bucket|get_bucket|rm_bucket|expected_bucket")},
	{name: "object", files: []string{"test_s3.py"}},
	{name: "suite", files: []string{"test_utils.py"}},
}

// groupOf finds the group of a test from its file, its name without test_, and its markers; "" if none claims it.
func groupOf(file, name string, markers []string) string {
	for _, g := range groups {
		if slices.Contains(g.files, file) || g.names != nil && g.names.MatchString(name) ||
			slices.ContainsFunc(g.markers, func(m string) bool { return slices.Contains(markers, m) }) {
			return g.name
		}
	}
	return ""
}
