package hubtest

// apiRoutes are below /api/datasets/{id}/, by method and verb.
var apiRoutes = map[string]route{
	"GET ":               repoInfo,
	"GET revision":       repoInfoAt,
	"GET tree":           listTree,
	"POST paths-info":    pathsInfo,
	"GET refs":           listRefs,
	"GET commits":        listCommits,
	"GET auth-check":     authCheck,
	"POST preupload":     preupload,
	"POST commit":        commitNDJSON,
	"POST branch":        createBranch,
	"DELETE branch":      deleteBranch,
	"POST tag":           createTag,
	"DELETE tag":         deleteTag,
	"POST super-squash":  superSquash,
	"GET parquet":        listParquet,
	"GET discussions":    getDiscussions,
	"POST discussions":   createDiscussion,
	"POST lfs-multipart": completeMultipart,
	"POST lfs-verify":    verifyLFS,
}

// webRoutes are below /datasets/{id}/ and /datasets/{id}.git/.
var webRoutes = map[string]route{
	"GET resolve":                 resolveFile,
	"GET raw":                     rawFile,
	"POST info/lfs/objects/batch": lfsBatch,
}

// globalRoutes are below /api/.
var globalRoutes = map[string]route{
	"GET whoami-v2":       whoami,
	"POST repos/create":   createRepo,
	"DELETE repos/delete": deleteRepo,
	"POST repos/move":     moveRepo,
	"POST validate-yaml":  validateYAML,
	// Clients ask once per process; there is nothing to tell them.
	"GET agent-harnesses": func(c *call) error { return c.json(map[string]any{}) },
}
