// The official JavaScript client takes the embedded Hub for a Hub. Run by `make test-npm`, which installs the client and
// names the program under test in HUBFLIGHT_BINARY.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import * as hf from "@huggingface/hub";

const WRITER = "hf_writerwriter";
const READER = "hf_readerreader";
const repo = { type: "dataset", name: "demo/set" };
const big = randomBytes(300_000);
let scratch, hub, as;

before(async () => {
  assert.ok(process.env.HUBFLIGHT_BINARY, "HUBFLIGHT_BINARY is not set: it names the hubflight program to test");
  scratch = mkdtempSync(join(tmpdir(), "hubflight-npm-"));
  const [port, tokens] = [join(scratch, "port"), join(scratch, "tokens")];
  writeFileSync(tokens, `${WRITER} write\n${READER} read\n`);
  const flags = ["--page-size", "3", "--multipart-threshold", "200000", "--part-size", "70000"];
  hub = spawn(
    process.env.HUBFLIGHT_BINARY,
    ["hub", "--dir", join(scratch, "hub"), "--port-file", port, "--token-file", tokens, ...flags],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  for (let tries = 0; !existsSync(port); tries++) {
    assert.ok(tries < 1000 && hub.exitCode === null, "the embedded Hub did not start");
    await sleep(20);
  }
  const hubUrl = readFileSync(port, "utf8").trim();
  as = (accessToken) => ({ hubUrl, accessToken });
  await hf.createRepo({ ...as(WRITER), repo });
});

after(() => {
  hub?.kill();
  rmSync(scratch, { recursive: true, force: true });
});

async function all(items) {
  const out = [];
  for await (const item of items) {
    out.push(item);
  }
  return out;
}

const add = (path, content) => ({ operation: "addOrUpdate", path, content: new Blob([content]) });
const commit = (operations, more = {}) =>
  hf.commit({ ...as(WRITER), repo, title: "a commit", useXet: false, operations, ...more });
const bytes = async (path, more = {}) => {
  const blob = await hf.downloadFile({ ...as(READER), repo, path, xet: false, ...more });
  return blob && Buffer.from(await blob.arrayBuffer());
};

test("a commit uploads in parts, and everything is listed and read back", async () => {
  const small = Array.from({ length: 7 }, (_, i) => add(`notes/${i} ä b.txt`, `note ${i}`));
  const done = await commit([add("data/train.parquet", big), add("README.md", "# hi\n"), ...small], { description: "why" });
  assert.match(done.commit.oid, /^[0-9a-f]{40}$/);

  const listed = await all(hf.listFiles({ ...as(READER), repo, recursive: true }));
  const files = listed.filter((f) => f.type === "file").map((f) => f.path);
  assert.deepEqual(files.toSorted(), [".gitattributes", "README.md", "data/train.parquet", ...small.map((s) => s.path)].toSorted());
  const parquet = listed.find((f) => f.path === "data/train.parquet");
  assert.equal(parquet.lfs.size, big.length);

  assert.deepEqual(await bytes("data/train.parquet"), big);
  assert.equal((await bytes("README.md")).toString(), "# hi\n");
  assert.equal((await bytes("notes/3 ä b.txt")).toString(), "note 3");
  const part = await hf.downloadFile({ ...as(READER), repo, path: "data/train.parquet", xet: false });
  assert.deepEqual(Buffer.from(await part.slice(1000, 2000).arrayBuffer()), big.subarray(1000, 2000));
  assert.equal(await bytes("missing.txt"), null);

  const log = await all(hf.listCommits({ ...as(READER), repo }));
  assert.deepEqual(log.map((c) => c.title), ["a commit", "initial commit"]);
  assert.equal(log[0].message, "why");
});

test("paths are looked up, with the commit that changed them", async () => {
  const info = await hf.pathsInfo({ ...as(READER), repo, paths: ["data/train.parquet", "missing"], expand: true });
  assert.deepEqual(info.map((i) => [i.path, i.size, i.lastCommit.title]), [["data/train.parquet", big.length, "a commit"]]);
  assert.equal(await hf.fileExists({ ...as(READER), repo, path: "README.md" }), true);
  assert.equal(await hf.fileExists({ ...as(READER), repo, path: "nowhere.md" }), false);
  const download = await hf.fileDownloadInfo({ ...as(READER), repo, path: "data/train.parquet" });
  assert.equal(download.size, big.length);
});

test("a file is deleted, and what is stale, forbidden or private is refused", async () => {
  const [head] = await all(hf.listCommits({ ...as(READER), repo }));
  await commit([{ operation: "delete", path: "notes/0 ä b.txt" }], { parentCommit: head.oid });
  assert.equal(await bytes("notes/0 ä b.txt"), null);
  const status = (statusCode) => (error) => error instanceof hf.HubApiError && error.statusCode === statusCode;
  await assert.rejects(commit([add("x.txt", "x")], { parentCommit: head.oid }), status(412));
  await assert.rejects(commit([add("x.txt", "x")], as(READER)), status(403));
  await assert.rejects(commit([add("x.txt", "x")], { repo: { type: "dataset", name: "demo/none" } }), status(404));
  await assert.rejects(hf.createRepo({ ...as(WRITER), repo }), status(409));
  await assert.rejects(hf.datasetInfo({ ...as("hf_forged"), name: repo.name }), status(401));
});

test("a pull request holds its commit, and a branch is made and left", async () => {
  const proposal = await commit([add("proposal.txt", "p")], { isPullRequest: true, ...as(READER) });
  assert.match(proposal.pullRequestUrl, /\/discussions\/1$/);
  assert.equal((await bytes("proposal.txt", { revision: "refs/pr/1" })).toString(), "p");
  assert.equal(await bytes("proposal.txt"), null);
  await hf.createBranch({ ...as(WRITER), repo, branch: "my/branch" });
  await commit([add("b.txt", "b")], { branch: "my/branch" });
  assert.equal((await bytes("b.txt", { revision: "my/branch" })).toString(), "b");
  await hf.deleteBranch({ ...as(WRITER), repo, branch: "my/branch" });
});

test("the repository's facts are told, and it is deleted", async () => {
  const info = await hf.datasetInfo({ ...as(READER), name: repo.name });
  assert.equal(info.name, repo.name);
  assert.equal(info.private, false);
  assert.equal((await hf.whoAmI(as(READER))).type, "user");
  await hf.deleteRepo({ ...as(WRITER), repo });
  assert.equal(await hf.repoExists({ ...as(READER), repo }), false);
});
