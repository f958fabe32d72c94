"""A fake of edgetpu_compiler, for unit tests alone: it writes the file that it is given, without
its signature, and prints what the real compiler's log looks like. It compiles nothing."""

import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

arguments = sys.argv[1:]
folder, source = Path(arguments[arguments.index("-o") + 1]), Path(arguments[-1])
log = (Path(__file__).parent / "log.txt").read_text()
print("Edge TPU Compiler version 16.0.384591198 (fake)")
if "FAIL" in log:
    print("\nInternal compiler error. Aborting! \n")
    sys.exit(1)
model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
model.signatureDefs = []
builder = flatbuffers.Builder(1024)
builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
if "NO FILE" not in log:
    (folder / f"{source.stem}_edgetpu.tflite").write_bytes(bytes(builder.Output()))
print("Model compiled successfully in 12 ms.\n\nNumber of Edge TPU subgraphs: 1\n")
print("Operator                       Count      Status\n\n" + log)
