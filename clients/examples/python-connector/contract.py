"""Makes the Python stubs of the contract, and imports them.

The .proto files of `proto/` are the contract; stubs are generated from them into `stubs/` whenever they changed, so that
nothing generated has to be kept. Use `import contract` and then `contract.connector`, `contract.common`, `contract.content`.
"""

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"
STUBS = HERE / "stubs"


def generate() -> None:
    """Runs protoc (it comes with grpcio-tools) where a .proto is newer than what was generated from it."""
    files = sorted((PROTO / "switchboard" / "v1").glob("*.proto"))
    files.append(PROTO / "google" / "api" / "field_behavior.proto")
    mark = STUBS / ".generated"
    if mark.exists() and all(file.stat().st_mtime <= mark.stat().st_mtime for file in files):
        return
    from grpc_tools import protoc
    from importlib import resources

    STUBS.mkdir(exist_ok=True)
    well_known = resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={STUBS}", f"--grpc_python_out={STUBS}"]
    if protoc.main(arguments + [str(file) for file in files]) != 0:
        raise SystemExit("the stubs could not be generated")
    mark.touch()


def load(name: str):
    """One generated module, such as `connector_service_pb2`."""
    return importlib.import_module(f"switchboard.v1.{name}")


generate()
# `google.api.field_behavior` lies in our stubs, beside the `google.protobuf` of the protobuf package.
import google  # noqa: E402

sys.path.insert(0, str(STUBS))
google.__path__.append(str(STUBS / "google"))

common = load("common_pb2")
content = load("content_pb2")
connector = load("connector_service_pb2")
connector_grpc = load("connector_service_pb2_grpc")
