"""More programs that take the embedded Hub for a Hub, and that meet its faults.

Each runs as its users run it: pandas, pyarrow and DuckDB over hf://, curl over
the resolve URLs, datasets with the dataset viewer, huggingface_hub behind a
mirror and on bad days.
"""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, HfFileSystem
from huggingface_hub.errors import DisabledRepoError, HfHubHTTPError

from hubserver import HubServer, binary

pytestmark = pytest.mark.server

REPO = "demo/set"
ROWS = 20_000


def table(rows: int = ROWS) -> pa.Table:
    return pa.table({"id": list(range(rows)), "text": [f"row {i}" for i in range(rows)]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository's files: two shards, a README and a CSV."""
    out = tmp_path_factory.mktemp("files")
    (out / "data").mkdir()
    for i in range(2):
        part = table().slice(i * ROWS // 2, ROWS // 2)
        pq.write_table(part, out / "data" / f"train-{i:05}-of-00002.parquet", row_group_size=2_500, compression="none")
    (out / "README.md").write_text("---\nlicense: mit\n---\nhello\n")
    (out / "rows.csv").write_text("id\n1\n2\n")
    return out


SHARD = "data/train-00000-of-00002.parquet"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        server.import_folder(folder, REPO)
        yield server


def run(hub: HubServer, home: Path, program: str, *arguments: str, **environment: str) -> dict[str, object]:
    """Runs a Python program that uses the Hub, returns the JSON of its last line."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**hub.environment(home), **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


OVER_HF = """
import json, sys
import duckdb, pandas as pd, pyarrow.dataset as ds
from huggingface_hub import HfFileSystem
root = "hf://datasets/" + sys.argv[1]
fs = HfFileSystem()
frame = pd.read_parquet(root + "/data/train-00001-of-00002.parquet", columns=["id"])
arrow = ds.dataset("datasets/" + sys.argv[1] + "/data", filesystem=fs, format="parquet")
kept = arrow.to_table(filter=ds.field("id") < 7)
duckdb.register_filesystem(fs)
query = f"select count(*), sum(id) from read_parquet('{root}/data/*.parquet') where id >= 100"
count, total = duckdb.sql(query).fetchall()[0]
print(json.dumps({
    "pandas": [len(frame), int(frame.id.iloc[0])], "arrow": [arrow.count_rows(), kept["text"].to_pylist()],
    "duckdb": [count, int(total)], "csv": len(pd.read_csv(root + "/rows.csv")),
}))
"""


def test_pandas_pyarrow_and_duckdb_read_over_hf(hub: HubServer, tmp_path: Path) -> None:
    assert run(hub, tmp_path, OVER_HF, REPO) == {
        "pandas": [ROWS // 2, ROWS // 2],
        "arrow": [ROWS, [f"row {i}" for i in range(7)]],
        "duckdb": [ROWS - 100, sum(range(100, ROWS))],
        "csv": 2,
    }


def test_curl_follows_the_resolve_urls(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    base = f"{hub.url}/datasets/{REPO}/resolve/main/"
    for path in (SHARD, "README.md", "rows.csv"):
        want = (folder / path).read_bytes()
        out = tmp_path / "out"
        subprocess.run([curl, "-sSfL", "-o", str(out), base + path], check=True)
        assert out.read_bytes() == want
        subprocess.run([curl, "-sSfL", "-r", "3-11", "-o", str(out), base + path], check=True)
        assert out.read_bytes() == want[3:12]
    # Half a file, continued.
    half = tmp_path / "half"
    whole = (folder / SHARD).read_bytes()
    half.write_bytes(whole[:1000])
    subprocess.run([curl, "-sSfL", "-C", "-", "-o", str(half), base + SHARD], check=True)
    assert half.read_bytes() == whole


@pytest.mark.parametrize(
    "faults",
    [
        "cdn GET * #1: end 30000\ncdn GET * #2: end 20000",
        "cdn GET * #1: end 30000\ncdn GET * #2: ignore-range",
        "cdn GET * #1: rate-limited 1",
        "hub HEAD * #1: status 503",
    ],
)
def test_a_download_is_resumed(tmp_path: Path, folder: Path, faults: str) -> None:
    with HubServer(tmp_path / "hub", faults=faults) as server:
        server.import_folder(folder, REPO)
        api = HfApi(endpoint=server.url, token=False)
        got = api.hf_hub_download(REPO, SHARD, repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(got).read_bytes() == (folder / SHARD).read_bytes()


def test_a_filesystem_reads_through_short_lived_signatures_and_bad_gateways(tmp_path: Path, folder: Path) -> None:
    faults = "hub GET /resolve/ #2: status 502\ncdn GET * #3: slow-down\ncdn GET * #4: reset"
    with HubServer(tmp_path / "hub", flags=["--signature-ttl", "1s", "--same-host-cdn"], faults=faults) as server:
        server.import_folder(folder, REPO)
        fs = HfFileSystem(endpoint=server.url, token="hf_anybody", skip_instance_cache=True)
        with fs.open(f"datasets/{REPO}/{SHARD}", "rb", block_size=20_000) as file:
            assert file.read() == (folder / SHARD).read_bytes()


def test_a_commit_lands_although_its_answer_is_lost(tmp_path: Path) -> None:
    faults = "hub POST /commit/ #1: after status 500\nhub POST /commit/ #2: after gateway-timeout"
    with HubServer(tmp_path / "hub", faults=faults) as server:
        api = HfApi(endpoint=server.url, token=False)
        api.create_repo(REPO, repo_type="dataset")
        for name, status in (("a.txt", 500), ("b.txt", 504)):
            with pytest.raises(HfHubHTTPError) as failure:
                api.upload_file(path_or_fileobj=b"x", path_in_repo=name, repo_id=REPO, repo_type="dataset")
            assert failure.value.response.status_code == status
        assert sorted(api.list_repo_files(REPO, repo_type="dataset")) == [".gitattributes", "a.txt", "b.txt"]


def test_of_two_commits_at_once_one_is_a_conflict(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub", flags=["--commit-time", "1s", "--commit-limit", "3"]) as server:
        api = HfApi(endpoint=server.url, token=False)
        api.create_repo(REPO, repo_type="dataset")

        def commit(name: str) -> int:
            try:
                operations = [CommitOperationAdd(name, name.encode())]
                api.create_commit(REPO, operations, commit_message=name, repo_type="dataset")
            except HfHubHTTPError as failure:
                return int(failure.response.status_code)
            return 200

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(commit, ["a.txt", "b.txt"])) == [200, 409]
        assert commit("c.txt") == 200
        assert commit("d.txt") == 429


def test_a_mirror_below_a_path_names_the_public_hub(tmp_path: Path, folder: Path) -> None:
    flags = ["--path-prefix", "/hf", "--public-hrefs", "--page-size", "2"]
    flags += ["--multipart-threshold", "100000", "--part-size", "70000"]
    with HubServer(tmp_path / "hub", flags=flags) as server:
        assert server.url.endswith("/hf")
        api = HfApi(endpoint=server.url, token="hf_anybody")
        url = api.create_repo(REPO, repo_type="dataset")
        assert url == f"{server.url}/datasets/{REPO}"
        api.upload_folder(folder_path=folder, repo_id=REPO, repo_type="dataset")
        out = Path(api.snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "out"))
        for path in (SHARD, "README.md", "rows.csv"):
            assert (out / path).read_bytes() == (folder / path).read_bytes()


@pytest.mark.parametrize("flags", [["--xet-headers"], ["--plain-files", "direct"], ["--plain-files", "redirected"]])
def test_each_shape_of_resolve_is_downloaded(tmp_path: Path, folder: Path, flags: list[str]) -> None:
    with HubServer(tmp_path / "hub", flags=flags) as server:
        server.import_folder(folder, REPO)
        api = HfApi(endpoint=server.url, token=False)
        for path in (SHARD, "README.md"):
            got = api.hf_hub_download(REPO, path, repo_type="dataset", cache_dir=tmp_path / "cache")
            assert Path(got).read_bytes() == (folder / path).read_bytes()
        info = api.get_paths_info(REPO, [SHARD], repo_type="dataset")[0]
        assert (getattr(info, "xet_hash", None) is not None) == (flags == ["--xet-headers"])


def test_a_repository_is_renamed_squashed_and_disabled(tmp_path: Path, folder: Path) -> None:
    with HubServer(tmp_path / "hub") as server:
        server.import_folder(folder, REPO)
        api = HfApi(endpoint=server.url, token="hf_anybody")
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO, repo_type="dataset")
        api.move_repo(REPO, "demo/renamed", repo_type="dataset")
        assert api.dataset_info(REPO).id == "demo/renamed"
        got = api.hf_hub_download(REPO, SHARD, repo_type="dataset", cache_dir=tmp_path / "cache")
        assert Path(got).read_bytes() == (folder / SHARD).read_bytes()
        # Writes follow as well: to the preupload, the LFS batch and the commit.
        api.upload_file(path_or_fileobj=folder / SHARD, path_in_repo="more.parquet", repo_id=REPO, repo_type="dataset")
        files = api.list_repo_files("demo/renamed", repo_type="dataset")
        assert "more.parquet" in files
        server.verb("move", "demo/renamed", "demo/again")
        assert api.list_repo_files(REPO, repo_type="dataset") == files

        api.super_squash_history("demo/again", repo_type="dataset", commit_message="all in one")
        assert [c.title for c in api.list_repo_commits("demo/again", repo_type="dataset")] == ["all in one"]
        assert api.list_repo_files("demo/again", repo_type="dataset") == files

        facts = server.directory / "datasets" / "demo" / "again.git" / "hubflight.json"
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "disabled": True}))
        with pytest.raises(DisabledRepoError):
            api.dataset_info("demo/again")


# The viewer's host is datasets-server. before the Hub's. No resolver knows that
# name, so it is told.
VIEWED = """
import json, socket, subprocess, sys
known = socket.getaddrinfo
def lookup(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return known(name.removeprefix("datasets-server."), *args, **kwargs)
socket.getaddrinfo = lookup
from datasets import Features, load_dataset
from datasets.utils._dataset_viewer import DatasetViewerError, get_exported_dataset_infos, get_exported_parquet_files
repo, sha, states, *say = sys.argv[1:]
def tell(ask):
    try:
        return ask(dataset=repo, commit_hash=sha, token=None)
    except DatasetViewerError as failure:
        return str(failure)
infos = tell(get_exported_dataset_infos)["default"]
out = {
    "files": tell(get_exported_parquet_files), "refused": {},
    "features": list(Features.from_dict(infos["features"])), "examples": infos["splits"]["train"]["num_examples"],
}
for state in states.split():
    subprocess.run([*say, state], check=True)
    out["refused"][state] = [tell(get_exported_parquet_files), tell(get_exported_dataset_infos)]
print(json.dumps(out))
"""


def test_the_datasets_library_asks_the_viewer(tmp_path: Path, folder: Path) -> None:
    with HubServer(tmp_path / "hub", flags=["--viewer-address", "127.0.0.1:0"]) as server:
        main = server.import_folder(folder, REPO)
        converted = tmp_path / "converted"
        (converted / "default" / "train").mkdir(parents=True)
        for i in range(2):
            pq.write_table(table(5), converted / "default" / "train" / f"{i:04}.parquet")
        server.import_folder(converted, REPO, "refs/convert/parquet")

        states = "stale pending failed partial not-ready broken blocked"
        say = [binary(), "hub", "conversion", REPO, "--dir", str(server.directory), "--state"]
        got = run(server, tmp_path / "home", VIEWED, REPO, main, states, *say)
        files, refused = got.pop("files"), got.pop("refused")
        assert got == {"features": ["id", "text"], "examples": 10}
        # None of these may be taken for a whole, present conversion.
        unavailable = ["No exported Parquet files available.", "No exported dataset infos available."]
        assert refused == dict.fromkeys(states.split(), unavailable)
        assert isinstance(files, list)
        assert [(f["config"], f["split"], f["filename"]) for f in files] == [
            ("default", "train", "0000.parquet"),
            ("default", "train", "0001.parquet"),
        ]
        shard = f"{server.url}/datasets/{REPO}/resolve/refs%2Fconvert%2Fparquet/default/train/0001.parquet"
        assert files[1]["url"] == shard
        assert files[1]["size"] == (converted / "default" / "train" / "0001.parquet").stat().st_size


# In a process of its own: Spark's Python workers have the environment that its JVM
# was started with, and the suite's own session has another Hub.
SPARK = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
reader = spark.read.format("huggingface")
frame = reader.load(sys.argv[1])
row = frame.selectExpr("count(*) as n", "sum(id) as total", "min(text) as first").first()
few = reader.option("columns", '["id"]').option("filters", '[("id", "<", 3)]').load(sys.argv[1])
few = sorted(r.id for r in few.collect())
print(json.dumps({"columns": frame.columns, "all": [row.n, row.total, row.first], "few": few}))
spark.stop()
"""


@pytest.mark.spark
def test_pyspark_huggingface_reads(hub: HubServer, tmp_path: Path) -> None:
    assert run(hub, tmp_path / "home", SPARK, REPO, PYSPARK_PYTHON=sys.executable) == {
        "columns": ["id", "text"],
        "all": [ROWS, sum(range(ROWS)), "row 0"],
        "few": [0, 1, 2],
    }


PUSH_TWICE = """
import json, sys
from datasets import Dataset, load_dataset
repo = sys.argv[1]
for config, rows in (("one", 30), ("two", 40)):
    data = Dataset.from_dict({"id": list(range(rows)), "text": [f"row {i}" for i in range(rows)]})
    data.push_to_hub(repo, config, max_shard_size=600)
    data.push_to_hub(repo, config, split="test", max_shard_size=10_000)
streamed = load_dataset(repo, "two", split="train", streaming=True)
print(json.dumps({
    "one": {k: v.num_rows for k, v in load_dataset(repo, "one").items()},
    "two": [row["id"] for row in streamed], "head": list(streamed.skip(5).take(2)),
}))
"""


def test_datasets_pushes_configs_and_streams_them_on_a_bad_day(tmp_path: Path) -> None:
    faults = "hub POST /preupload/ #1: status 503\ncdn PUT * #2: slow-down\nhub GET /tree/ #3: rate-limited 1"
    flags = ["--page-size", "3", "--commit-time", "10ms"]
    with HubServer(tmp_path / "hub", flags=flags, faults=faults) as server:
        got = run(server, tmp_path / "home", PUSH_TWICE, REPO, HF_TOKEN="hf_anybody")
        assert got == {
            "one": {"train": 30, "test": 30},
            "two": list(range(40)),
            "head": [{"id": 5, "text": "row 5"}, {"id": 6, "text": "row 6"}],
        }
