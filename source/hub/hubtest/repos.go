package hubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

type repoRequest struct {
	Name         string `json:"name"`
	Organization string `json:"organization"`
	Type         string `json:"type"`
	Visibility   string `json:"visibility"`
	Private      bool   `json:"private"`
}

// readRepo reads the body that creates or deletes a repository, and its id.
func (c *call) readRepo() (in repoRequest, id string, err error) {
	if err := c.decode(&in); err != nil {
		return in, "", err
	}
	if in.Type != "dataset" {
		return in, "", refuse(http.StatusBadRequest, "", "Only repositories of type dataset are kept here")
	}
	id = in.Name
	if in.Organization != "" {
		id = in.Organization + "/" + in.Name
	} else if !strings.Contains(id, "/") {
		id = c.who.name + "/" + in.Name
	}
	switch c.who.rights {
	case 0:
		return in, id, refuse(http.StatusUnauthorized, "", "Invalid username or password.")
	case Write:
		return in, id, nil
	}
	return in, id, refuse(http.StatusForbidden, "", "You don't have the rights to create a dataset under the namespace %q", strings.Split(id, "/")[0])
}

// createRepo answers POST /api/repos/create.
func createRepo(c *call) error {
	in, id, err := c.readRepo()
	if err != nil {
		return err
	}
	r, err := c.h.create(id, c.who.name, Settings{Private: in.Private || in.Visibility == "private"})
	var known *hubError
	if errors.As(err, &known) && known.status == http.StatusConflict && r != nil {
		return c.reply(known.status, map[string]any{"error": known.message, "url": c.href(c.base() + "/datasets/" + r.id)})
	}
	if err != nil {
		return err
	}
	return c.json(map[string]any{"url": c.href(c.base() + "/datasets/" + r.id), "name": r.id, "id": hashObject(kindBlob, []byte(r.id))[:24]})
}

// deleteRepo answers DELETE /api/repos/delete.
func deleteRepo(c *call) error {
	_, id, err := c.readRepo()
	if err != nil {
		return err
	}
	c.id = id
	r := c.h.find(id)
	if r == nil {
		return c.invisible()
	}
	if err := c.h.remove(r); err != nil {
		return err
	}
	return c.json(map[string]any{})
}

// createBranch answers POST …/branch/{b}.
func createBranch(c *call) error {
	r, err := c.open(write)
	if err != nil {
		return err
	}
	var in struct {
		StartingPoint string `json:"startingPoint"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	branch := c.path()
	name, err := refName(branch)
	if err != nil || strings.HasPrefix(branch, "refs/") && !strings.HasPrefix(branch, "refs/convert/") {
		return refuse(http.StatusBadRequest, "", "Invalid reference name: %s", branch)
	}
	if in.StartingPoint == "" {
		in.StartingPoint = mainBranch
	}
	sha, err := r.resolve(in.StartingPoint)
	if err != nil {
		return err
	}
	return c.setRef(r, name, sha, "Reference already exists")
}

// setRef makes a ref that must not exist yet.
func (c *call) setRef(r *repo, name, id, exists string) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := r.target(name); err == nil {
		return refuse(http.StatusConflict, "", "%s", exists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.move(name, id); err != nil {
		return err
	}
	return c.json(map[string]any{})
}

// dropRef answers the two deletions.
func (c *call) dropRef(prefix string) error {
	r, err := c.open(write)
	if err != nil {
		return err
	}
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	name := prefix + c.path()
	if name == mainRef {
		return refuse(http.StatusForbidden, "", "Cannot delete the main branch")
	}
	if _, err := refName(c.path()); err != nil {
		return err
	}
	if _, err := r.target(name); err != nil {
		return noRevision(c.path())
	}
	if err := r.drop(name); err != nil {
		return err
	}
	return c.json(map[string]any{})
}

// deleteBranch answers DELETE …/branch/{b}.
func deleteBranch(c *call) error { return c.dropRef("refs/heads/") }

// deleteTag answers DELETE …/tag/{t}.
func deleteTag(c *call) error { return c.dropRef("refs/tags/") }

// createTag answers POST …/tag/{rev}. A tag with a message is an annotated one.
func createTag(c *call) error {
	r, err := c.open(write)
	if err != nil {
		return err
	}
	rev, err := c.takeRevision()
	if err != nil {
		return err
	}
	sha, err := r.resolve(rev)
	if err != nil {
		return err
	}
	var in struct {
		Tag     string `json:"tag"`
		Message string `json:"message"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if _, err := refName(in.Tag); err != nil || strings.HasPrefix(in.Tag, "refs/") {
		return refuse(http.StatusBadRequest, "", "Invalid tag name: %.100s", in.Tag)
	}
	id := sha
	if in.Message != "" {
		body := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s\n\n%s\n", sha, in.Tag, signature(c.who.name, c.h.options.Now()), in.Message)
		if id, err = r.objects.write(kindTag, []byte(body)); err != nil {
			return err
		}
	}
	return c.setRef(r, "refs/tags/"+in.Tag, id, "Tag reference exists already")
}
