package s3

import (
	"holdfast/access"
	"holdfast/engine"
	"holdfast/gateways/s3/wire"
)

// absent are questions about features that no bucket or object has yet, for which S3 has an answer that says so. Clients ask
// them before they work with a bucket. The changes to the same sub-resources are not implemented.
var absent = []route{
	none("GetBucketPolicy", "s3:GetBucketPolicy", "policy", "NoSuchBucketPolicy"),
	none("GetBucketPolicyStatus", "s3:GetBucketPolicyStatus", "policyStatus", "NoSuchBucketPolicy"),
	none("GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration", "lifecycle", "NoSuchLifecycleConfiguration"),
	none("GetBucketCors", "s3:GetBucketCORS", "cors", "NoSuchCORSConfiguration"),
	none("GetBucketWebsite", "s3:GetBucketWebsite", "website", "NoSuchWebsiteConfiguration"),
	none("GetBucketReplication", "s3:GetReplicationConfiguration", "replication", "ReplicationConfigurationNotFoundError"),
	none("GetBucketEncryption", "s3:GetEncryptionConfiguration", "encryption", "ServerSideEncryptionConfigurationNotFoundError"),
	none("GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock", "publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),

	constant("GetBucketLogging", "s3:GetBucketLogging", "logging", "BucketLoggingStatus", nil),
	constant("GetBucketNotificationConfiguration", "s3:GetBucketNotification", "notification", "NotificationConfiguration", nil),
	constant("GetBucketAccelerateConfiguration", "s3:GetAccelerateConfiguration", "accelerate", "AccelerateConfiguration", nil),
	constant("GetBucketRequestPayment", "s3:GetBucketRequestPayment", "requestPayment", "RequestPaymentConfiguration", func(_ *call, d *wire.Doc) {
		d.Text("Payer", "BucketOwner")
	}),
	constant("GetBucketOwnershipControls", "s3:GetBucketOwnershipControls", "ownershipControls", "OwnershipControls", func(_ *call, d *wire.Doc) {
		d.Open("Rule")
		d.Text("ObjectOwnership", "BucketOwnerEnforced")
		d.Close()
	}),
	constant("GetBucketAcl", "s3:GetBucketAcl", "acl", "AccessControlPolicy", ownerMayAll),

	{name: "GetObjectAcl", action: "s3:GetObjectAcl", method: "GET", level: objectLevel, need: []string{"acl"}, may: []string{"versionId"},
		serve: ofObject(func(c *call) error {
			d := wire.NewDoc("AccessControlPolicy")
			ownerMayAll(c, d)
			return c.answer(d)
		})},
}

// none is a question about a bucket whose answer is an error that says that there is nothing.
func none(name string, action access.Action, parameter, code string) route {
	return route{name: name, action: action, method: "GET", level: bucketLevel, need: []string{parameter}, serve: ofBucket(func(*call) error {
		return fault(code)
	})}
}

// constant is a question about a bucket whose answer is the same for all of them.
func constant(name string, action access.Action, parameter, root string, fill func(*call, *wire.Doc)) route {
	return route{name: name, action: action, method: "GET", level: bucketLevel, need: []string{parameter}, serve: ofBucket(func(c *call) error {
		d := wire.NewDoc(root)
		if fill != nil {
			fill(c, d)
		}
		return c.answer(d)
	})}
}

// ofBucket answers only about a bucket that exists.
func ofBucket(serve func(*call) error) func(*call) error {
	return func(c *call) error {
		if _, err := c.engine.StatBucket(c.ctx, c.bucket); err != nil {
			return err
		}
		return serve(c)
	}
}

// ofObject answers only about an object that exists.
func ofObject(serve func(*call) error) func(*call) error {
	return func(c *call) error {
		if err := c.checkVersion(); err != nil {
			return err
		}
		if _, err := c.engine.Stat(c.ctx, c.ref(), engine.StatOptions{}); err != nil {
			return err
		}
		return serve(c)
	}
}

// ownerMayAll is the access control list of everything: the owner has all rights, nobody else has any.
func ownerMayAll(c *call, d *wire.Doc) {
	c.owner(d, "Owner")
	d.Open("AccessControlList")
	d.Open("Grant")
	d.OpenAs("Grantee", `xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"`)
	d.Text("ID", c.g.OwnerID)
	d.Text("DisplayName", c.g.OwnerName)
	d.Close()
	d.Text("Permission", "FULL_CONTROL")
	d.Close()
	d.Close()
}
