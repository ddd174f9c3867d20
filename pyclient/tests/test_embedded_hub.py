"""The embedded Hub is what the real clients take for a Hub.

Nothing here is ours except the program under test: requests are made, and
answers judged, by huggingface_hub and datasets.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hubserver import HubServer

WRITER, READER, STRANGER = "hf_writerwriter", "hf_readerreader", "hf_strangerstranger"
REPO = "demo/set"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    tokens = {WRITER: "write", READER: "read", STRANGER: "public"}
    with HubServer(tmp_path_factory.mktemp("hub"), tokens) as server:
        yield server


@pytest.fixture
def api(hub: HubServer) -> HfApi:
    return HfApi(endpoint=hub.url, token=WRITER)


@pytest.fixture
def repo(api: HfApi, request: pytest.FixtureRequest) -> Iterator[str]:
    """A new repository of the test's own."""
    name = "demo/" + request.node.name.replace("[", "-").replace("]", "")[:80].strip("-_.")
    api.create_repo(name, repo_type="dataset")
    yield name
    api.delete_repo(name, repo_type="dataset")


def table(rows: int = 1000) -> pa.Table:
    return pa.table({"id": list(range(rows)), "text": [f"row {i}" for i in range(rows)]})


def parquet(rows: int = 1000) -> bytes:
    out = io.BytesIO()
    pq.write_table(table(rows), out, row_group_size=max(rows // 4, 1))
    return out.getvalue()


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=data)


def content(api: HfApi, repo: str, path: str, revision: str = "main") -> bytes:
    fs = HfFileSystem(endpoint=api.endpoint, token=WRITER, skip_instance_cache=True)
    data = fs.cat_file(f"datasets/{repo}/{path}", revision=revision)
    assert isinstance(data, bytes)
    return data


def test_a_new_repository_has_one_commit_with_gitattributes(api: HfApi, repo: str) -> None:
    info = api.dataset_info(repo)
    assert info.id == repo
    assert info.sha is not None
    assert len(info.sha) == 40
    assert [s.rfilename for s in info.siblings or []] == [".gitattributes"]
    assert [c.title for c in api.list_repo_commits(repo, repo_type="dataset")] == ["initial commit"]


def test_creating_a_repository_twice_is_a_conflict(api: HfApi, repo: str) -> None:
    with pytest.raises(HfHubHTTPError) as failure:
        api.create_repo(repo, repo_type="dataset")
    assert failure.value.response.status_code == 409
    assert api.create_repo(repo, repo_type="dataset", exist_ok=True).repo_id == repo


def test_small_and_lfs_files_are_stored_each_in_its_way(api: HfApi, repo: str, tmp_path: Path) -> None:
    small, big = b"# a readme\n", parquet()
    api.upload_file(path_or_fileobj=small, path_in_repo="notes.txt", repo_id=repo, repo_type="dataset")
    path = tmp_path / "p.parquet"
    path.write_bytes(big)
    api.upload_file(path_or_fileobj=path, path_in_repo="data/p 1%.parquet", repo_id=repo, repo_type="dataset")

    by_path = {
        f.path: f for f in api.get_paths_info(repo, ["notes.txt", "data/p 1%.parquet", "missing"], repo_type="dataset")
    }
    assert sorted(by_path) == ["data/p 1%.parquet", "notes.txt"]
    assert by_path["notes.txt"].lfs is None
    assert by_path["notes.txt"].blob_id == hashlib.sha1(b"blob 11\0" + small, usedforsecurity=False).hexdigest()
    lfs = by_path["data/p 1%.parquet"].lfs
    assert lfs is not None
    assert (lfs.sha256, lfs.size) == (hashlib.sha256(big).hexdigest(), len(big))

    for name, want in (("notes.txt", small), ("data/p 1%.parquet", big)):
        got = api.hf_hub_download(repo, name, repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(got).read_bytes() == want
        assert Path(got).parts[-2 - name.count("/")] == api.dataset_info(repo).sha


def test_one_commit_adds_replaces_copies_and_deletes(api: HfApi, repo: str) -> None:
    one, two = parquet(10), parquet(20)
    api.create_commit(
        repo,
        [add("a.parquet", one), add("old/x.txt", b"x"), add("old/y.txt", b"y"), add("b.txt", b"before")],
        commit_message="first",
        repo_type="dataset",
    )
    result = api.create_commit(
        repo,
        [
            CommitOperationAdd("b.txt", b"after"),
            CommitOperationCopy("a.parquet", "data/train-00000-of-00001.parquet"),
            CommitOperationDelete("a.parquet"),
            CommitOperationDelete("old/"),
            add("new.parquet", two),
        ],
        commit_message="second",
        commit_description="hubflight job=1\n\nwith a second paragraph",
        repo_type="dataset",
    )
    files = api.list_repo_files(repo, repo_type="dataset")
    assert sorted(files) == [".gitattributes", "b.txt", "data/train-00000-of-00001.parquet", "new.parquet"]
    assert content(api, repo, "b.txt") == b"after"
    assert content(api, repo, "data/train-00000-of-00001.parquet") == one
    newest = api.list_repo_commits(repo, repo_type="dataset")[0]
    assert newest.commit_id == result.oid == api.dataset_info(repo).sha
    assert (newest.title, newest.message) == ("second", "hubflight job=1\n\nwith a second paragraph")


def test_a_stale_parent_commit_is_refused(api: HfApi, repo: str) -> None:
    start = api.dataset_info(repo).sha
    api.create_commit(repo, [add("a.txt", b"a")], commit_message="a", repo_type="dataset", parent_commit=start)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as failure:
        api.create_commit(repo, [add("b.txt", b"b")], commit_message="b", repo_type="dataset", parent_commit=start)
    assert failure.value.response.status_code == 412
    assert "b.txt" not in api.list_repo_files(repo, repo_type="dataset")


def test_bad_commits_change_nothing(api: HfApi, repo: str) -> None:
    head = api.dataset_info(repo).sha
    with pytest.raises(EntryNotFoundError):
        api.create_commit(
            repo,
            [add("a.txt", b"a"), CommitOperationDelete("missing.txt")],
            commit_message="x",
            repo_type="dataset",
        )
    with pytest.raises(RevisionNotFoundError):
        api.create_commit(repo, [add("a.txt", b"a")], commit_message="x", repo_type="dataset", revision="nowhere")
    # An object that was uploaded to another repository is unknown to this one.
    never = add("a.parquet", parquet(3))
    never._upload_mode, never._is_uploaded, never._is_committed = "lfs", True, False
    with pytest.raises(BadRequestError, match="does not exist"):
        api.create_commit(repo, [never], commit_message="x", repo_type="dataset")
    assert api.dataset_info(repo).sha == head


def test_a_pull_request_has_a_ref_of_its_own(hub: HubServer, api: HfApi, repo: str) -> None:
    head = api.dataset_info(repo).sha
    reader = HfApi(endpoint=hub.url, token=READER)  # opening one takes no right to write
    result = reader.create_commit(
        repo, [add("p.parquet", parquet(5))], commit_message="proposal", repo_type="dataset", create_pr=True
    )
    assert (result.pr_num, result.pr_revision) == (1, "refs/pr/1")
    refs = api.list_repo_refs(repo, repo_type="dataset", include_pull_requests=True)
    assert [(r.ref, r.target_commit) for r in refs.pull_requests or []] == [("refs/pr/1", result.oid)]
    assert api.dataset_info(repo).sha == head
    assert content(api, repo, "p.parquet", "refs/pr/1") == parquet(5)
    second = api.create_pull_request(repo, "a title", repo_type="dataset", description="why")
    assert (second.num, second.status, second.target_branch) == (2, "draft", "refs/heads/main")
    assert [d.title for d in api.get_repo_discussions(repo, repo_type="dataset")] == ["a title", "proposal"]
    api.create_commit(repo, [add("q.txt", b"q")], commit_message="more", repo_type="dataset", revision="refs/pr/2")
    assert content(api, repo, "q.txt", "refs/pr/2") == b"q"


def test_branches_and_tags_may_hold_slashes(api: HfApi, repo: str) -> None:
    start = api.dataset_info(repo).sha
    api.create_branch(repo, branch="my/branch", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, repo_type="dataset", revision="my/branch")
    api.create_tag(repo, tag="v1", revision="my/branch", repo_type="dataset", tag_message="one")
    refs = api.list_repo_refs(repo, repo_type="dataset")
    assert {b.name for b in refs.branches} == {"main", "my/branch"}
    tip = next(b.target_commit for b in refs.branches if b.name == "my/branch")
    assert [(t.name, t.target_commit) for t in refs.tags] == [("v1", tip)]
    assert api.dataset_info(repo, revision="v1").sha == tip != start
    assert [f.path for f in api.list_repo_tree(repo, revision="my/branch", repo_type="dataset")] == [
        ".gitattributes",
        "x.txt",
    ]
    api.delete_branch(repo, branch="my/branch", repo_type="dataset")
    api.delete_tag(repo, tag="v1", repo_type="dataset")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(repo, revision="my/branch")


def test_a_tree_is_listed_over_several_pages(api: HfApi, repo: str) -> None:
    names = {f"data/part {i % 7}/f{i:04}#.txt" for i in range(1203)}
    api.create_commit(repo, [add(n, n.encode()) for n in sorted(names)], commit_message="many", repo_type="dataset")
    tree = list(api.list_repo_tree(repo, repo_type="dataset", recursive=True))
    files = {e.path: e for e in tree if hasattr(e, "blob_id")}
    assert set(files) == names | {".gitattributes"}
    folders = {e.path for e in tree} - set(files)
    assert folders == {"data"} | {f"data/part {i}" for i in range(7)}
    below = list(api.list_repo_tree(repo, "data/part 3", repo_type="dataset", expand=True))
    assert {e.path for e in below} == {n for n in names if "/part 3/" in n}
    assert below[0].last_commit is not None
    assert below[0].last_commit.title == "many"
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "nothing", repo_type="dataset"))


def test_hffilesystem_reads_ranges(hub: HubServer, api: HfApi, repo: str) -> None:
    data = parquet(50_000)
    api.upload_file(path_or_fileobj=data, path_in_repo="data/p.parquet", repo_id=repo, repo_type="dataset")
    api.upload_file(path_or_fileobj=data[:5000], path_in_repo="plain.txt", repo_id=repo, repo_type="dataset")
    fs = HfFileSystem(endpoint=hub.url, token=WRITER, skip_instance_cache=True)
    for path, want in ((f"datasets/{repo}/data/p.parquet", data), (f"datasets/{repo}/plain.txt", data[:5000])):
        with fs.open(path, "rb", block_size=1000) as file:
            file.seek(1234)
            assert file.read(321) == want[1234 : 1234 + 321]
            file.seek(-17, io.SEEK_END)
            assert file.read() == want[-17:]
    got = pq.ParquetFile(fs.open(f"datasets/{repo}/data/p.parquet")).read_row_group(2, columns=["id"])
    assert got.column("id").to_pylist() == list(range(25_000, 37_500))
    assert fs.ls(f"datasets/{repo}/data", detail=False) == [f"datasets/{repo}/data/p.parquet"]


def test_tokens_decide_who_may_do_what(hub: HubServer, api: HfApi, repo: str) -> None:
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, repo_type="dataset")
    reader, stranger = HfApi(endpoint=hub.url, token=READER), HfApi(endpoint=hub.url, token=STRANGER)
    nobody = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(HfHubHTTPError) as failure:
        reader.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=repo, repo_type="dataset")
    assert failure.value.response.status_code == 403
    assert nobody.dataset_info(repo).id == repo
    api.auth_check(repo, repo_type="dataset", write=True)
    with pytest.raises(HfHubHTTPError):
        reader.auth_check(repo, repo_type="dataset", write=True)
    with pytest.raises(RepositoryNotFoundError):
        nobody.dataset_info("demo/missing")
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        HfApi(endpoint=hub.url, token="hf_forgedforged").dataset_info(repo)
    assert api.whoami()["auth"]["accessToken"]["role"] == "write"

    private = repo + "-private"
    api.create_repo(private, repo_type="dataset", private=True)
    try:
        assert reader.dataset_info(private).private is True
        for other in (stranger, nobody):
            with pytest.raises(RepositoryNotFoundError):
                other.dataset_info(private)
    finally:
        api.delete_repo(private, repo_type="dataset")


def test_gated_files_are_listed_but_not_read(hub: HubServer, api: HfApi, repo: str, tmp_path: Path) -> None:
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo, repo_type="dataset")
    facts = hub.directory / "datasets" / (repo + ".git") / "hubflight.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "gated": "manual"}))
    stranger = HfApi(endpoint=hub.url, token=STRANGER)
    assert stranger.dataset_info(repo).gated == "manual"
    with pytest.raises(GatedRepoError):
        stranger.hf_hub_download(repo, "x.txt", repo_type="dataset", cache_dir=tmp_path)
    reader = HfApi(endpoint=hub.url, token=READER)
    reader.hf_hub_download(repo, "x.txt", repo_type="dataset", cache_dir=tmp_path)


def test_upload_folder_and_snapshot_download_agree(api: HfApi, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, data in {
        "README.md": b"---\nlicense: mit\n---\nhello\n",
        "a/b.parquet": parquet(7),
        "e.parquet": b"",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    api.upload_folder(folder_path=folder, repo_id=repo, repo_type="dataset")
    out = Path(api.snapshot_download(repo, repo_type="dataset", local_dir=tmp_path / "out"))
    for name in ("README.md", "a/b.parquet", "e.parquet"):
        assert (out / name).read_bytes() == (folder / name).read_bytes()
    assert api.dataset_info(repo).card_data["license"] == "mit"


def test_what_is_stored_is_a_sound_git_repository(hub: HubServer, api: HfApi, repo: str) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    api.create_commit(
        repo,
        [add("a/b/c.txt", b"c"), add("a.b", b"d"), add("a/p.parquet", parquet(9)), add("näme.txt", b"u")],
        commit_message="tree",
        repo_type="dataset",
    )
    folder = hub.directory / "datasets" / (repo + ".git")
    subprocess.run([git, "-C", str(folder), "fsck", "--full", "--strict"], check=True, capture_output=True)
    log = subprocess.run(
        [git, "-C", str(folder), "log", "--format=%H %s", "main"], check=True, capture_output=True, text=True
    )
    assert log.stdout.splitlines()[0] == f"{api.dataset_info(repo).sha} tree"


LOAD = """
import json, sys
from datasets import load_dataset, get_dataset_config_names
repo = sys.argv[1]
whole = load_dataset(repo, "one")
streamed = list(load_dataset(repo, "two", split="test", streaming=True))
print(json.dumps({
    "configs": get_dataset_config_names(repo),
    "splits": {k: v.num_rows for k, v in whole.items()},
    "first": whole["train"][0], "streamed": streamed[:2], "count": len(streamed),
}))
"""

CARD = """---
configs:
- config_name: one
  data_files:
  - {split: train, path: "one/train-*.parquet"}
  - {split: test, path: "one/test-*.parquet"}
- config_name: two
  data_files: [{split: test, path: "two/*.parquet"}]
---
"""


def test_the_datasets_library_reads_an_imported_repository(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "one").mkdir(parents=True)
    (folder / "two").mkdir()
    (folder / "README.md").write_text(CARD)
    for name, rows in {"one/train-0": 10, "one/train-1": 5, "one/test-0": 3, "two/x": 1000}.items():
        pq.write_table(table(rows), folder / f"{name}.parquet")
    first = hub.import_folder(folder, "demo/imported")
    assert hub.import_folder(folder, "demo/imported") == first  # nothing new, no commit

    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LOAD, "demo/imported"],
        env={**hub.environment(home), "HF_TOKEN": READER},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert got == {
        "configs": ["one", "two"],
        "splits": {"train": 15, "test": 3},
        "first": {"id": 0, "text": "row 0"},
        "streamed": [{"id": 0, "text": "row 0"}, {"id": 1, "text": "row 1"}],
        "count": 1000,
    }


PUSH = """
import sys
from datasets import Dataset
Dataset.from_dict({"id": list(range(100))}).push_to_hub(sys.argv[1], max_shard_size=300)
"""


def test_the_datasets_library_pushes_a_dataset(hub: HubServer, api: HfApi, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUSH, "demo/pushed"],
        env={**hub.environment(tmp_path), "HF_TOKEN": WRITER},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    shards = sorted(f for f in api.list_repo_files("demo/pushed", repo_type="dataset") if f.startswith("data/"))
    assert len(shards) > 1
    ids = [i for s in shards for i in pq.read_table(io.BytesIO(content(api, "demo/pushed", s)))["id"].to_pylist()]
    assert ids == list(range(100))


def test_a_hub_without_tokens_lets_everybody_write(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub") as server:
        api = HfApi(endpoint=server.url, token=False)
        api.create_repo(REPO, repo_type="dataset")
        api.upload_file(path_or_fileobj=parquet(4), path_in_repo="a.parquet", repo_id=REPO, repo_type="dataset")
        before = api.dataset_info(REPO, files_metadata=True)
    with HubServer(tmp_path / "hub") as server:  # what was written is there after a restart
        after = HfApi(endpoint=server.url, token=False).dataset_info(REPO, files_metadata=True)
    assert after == before


def test_large_files_go_in_parts_and_listings_in_pages(tmp_path: Path) -> None:
    flags = ["--multipart-threshold", "1000000", "--part-size", "300000", "--page-size", "3", "--shuffled-parts"]
    with HubServer(tmp_path / "hub", flags=flags) as server:
        api = HfApi(endpoint=server.url, token="hf_anybody")
        api.create_repo(REPO, repo_type="dataset")
        big = os.urandom(2_500_000)
        api.upload_file(path_or_fileobj=big, path_in_repo="data/big.parquet", repo_id=REPO, repo_type="dataset")
        names = [f"f{i}.txt" for i in range(8)]
        api.create_commit(REPO, [add(n, b"x") for n in names], commit_message="more", repo_type="dataset")
        assert content(api, REPO, "data/big.parquet") == big
        assert set(api.list_repo_files(REPO, repo_type="dataset")) == {".gitattributes", "data/big.parquet", *names}
        titles = [c.title for c in api.list_repo_commits(REPO, repo_type="dataset")]
        assert titles == ["more", "Upload data/big.parquet with huggingface_hub", "initial commit"]
