package session_test

import (
	"context"
	"io"

	"holdfast/engine"
)

func (n *none) Lookup(context.Context, engine.Place, engine.VersionID) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) StatFile(context.Context, engine.File) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) FileKey(context.Context, engine.File) (engine.Key, error) {
	return "", n.fail()
}
func (n *none) ListDirectory(context.Context, engine.File, engine.ListDirectoryOptions) (engine.DirectoryPage, error) {
	return engine.DirectoryPage{}, n.fail()
}
func (n *none) MakeFile(context.Context, engine.Place, engine.MakeFileOptions) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) LinkFile(context.Context, engine.File, engine.Place) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) RemoveFile(context.Context, engine.Place, engine.RemoveFileOptions) error {
	return n.fail()
}
func (n *none) MoveFile(context.Context, engine.Place, engine.Place, engine.MoveFileOptions) error {
	return n.fail()
}
func (n *none) SetFile(context.Context, engine.File, engine.FileChange) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) Xattr(context.Context, engine.File, string) ([]byte, error) {
	return nil, n.fail()
}
func (n *none) Xattrs(context.Context, engine.File) ([]string, error) {
	return nil, n.fail()
}
func (n *none) SetXattr(context.Context, engine.File, string, []byte, engine.SetXattrOptions) error {
	return n.fail()
}
func (n *none) OpenFile(context.Context, engine.File, engine.OpenFileOptions) (engine.Object, error) {
	return nil, n.fail()
}
func (n *none) StageFile(context.Context, engine.BucketName, io.Reader, engine.StageOptions) (engine.Staged, error) {
	return nil, n.fail()
}
func (n *none) PatchFile(context.Context, engine.File, engine.Patch) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) SeekFile(context.Context, engine.File, int64, bool) (int64, error) {
	return 0, n.fail()
}
func (n *none) Usage(context.Context, engine.BucketName, string) (engine.PrefixInfo, error) {
	return engine.PrefixInfo{}, n.fail()
}
func (n *none) OpenOwner(context.Context, engine.BucketName, string) (engine.OwnerID, error) {
	return 0, n.fail()
}
func (n *none) RenewOwner(context.Context, engine.BucketName, engine.OwnerID) ([]engine.NodeID, error) {
	return nil, n.fail()
}
func (n *none) CloseOwner(context.Context, engine.BucketName, engine.OwnerID) error {
	return n.fail()
}
func (n *none) HoldFile(context.Context, engine.File, engine.OwnerID) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) ReleaseFile(context.Context, engine.File, engine.OwnerID) error {
	return n.fail()
}
func (n *none) MakeTemporary(context.Context, engine.BucketName, engine.OwnerID, engine.MakeFileOptions) (engine.FileInfo, error) {
	return engine.FileInfo{}, n.fail()
}
func (n *none) LockFile(context.Context, engine.File, engine.FileLock) error {
	return n.fail()
}
func (n *none) TestLock(context.Context, engine.File, engine.FileLock) (engine.FileLock, bool, error) {
	return engine.FileLock{}, false, n.fail()
}
func (n *none) Space(context.Context, engine.BucketName) (engine.SpaceInfo, error) {
	return engine.SpaceInfo{}, n.fail()
}
