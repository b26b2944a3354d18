"""Makes the archives of this folder. Run with torch, safetensors and numpy installed: python make.py"""
import collections, io, os, pathlib, pickle, zipfile
import numpy, torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
torch.manual_seed(0)

# Safetensors: every type, an empty tensor, a scalar, names and metadata that need escapes.
types = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.float16, torch.bfloat16, torch.int32,
         torch.uint32, torch.float32, torch.float64, torch.int64, torch.uint64]
tensors = {f"t{len(types) - i:02d}": torch.arange(3 + i % 3).to(t) for i, t in enumerate(types)}
tensors |= {"b": torch.arange(6.0).reshape(2, 3), "a": torch.zeros(0, 4), "scalar": torch.tensor(2.5),
            'q"uote\n\u00e9\u20ac\x01\x7f': torch.ones(1)}
save_file(tensors, here / "reference.safetensors", metadata={"note": 'line\n"q" \u00e9\\/\x01'})
save_file({"w": torch.arange(4.0)}, here / "plain.safetensors")

# Checkpoints.
base = torch.arange(24.0).reshape(4, 6)
state = collections.OrderedDict(
    [("prompt_learner.ctx", torch.arange(8.0).reshape(2, 4)), ("half", torch.arange(6).half().reshape(3, 2)),
     ("view", base[1:3, ::2]), ("transposed", base.t()), ("parameter", torch.nn.Parameter(torch.ones(3))),
     ("expanded", torch.tensor([7.0]).expand(2, 3)), ("empty", torch.zeros(0, 5)), ("number", torch.tensor(3)),
     ("flags", torch.tensor([True, False])), ("bf16", torch.tensor([1.0, -2.0]).bfloat16()),
     ("wide", torch.tensor([1, 2, 65535], dtype=torch.uint16))])
checkpoint = {"state_dict": state, "epoch": 50, "val_result": None, "name": "CoOp \u00e9", "rate": 0.002, "best": True,
              "big": 2**40, "negative": -7, "huge": 2**100, "raw": b"ab", "list": [1, torch.tensor([5]), ("x",)],
              "set": {4}, 3: "number key", "size": torch.Size([2, 3]), "device": torch.device("cpu")}
torch.save(checkpoint, here / "checkpoint.pt")
torch.save(checkpoint, here / "checkpoint_protocol4.pt", pickle_protocol=4)
old = {k: v for k, v in checkpoint.items() if k != "state_dict"}
old["state_dict"] = collections.OrderedDict((k, v) for k, v in state.items() if k != "wide")
torch.save(old, here / "sequential.pt", _use_new_zipfile_serialization=False)
torch.save(torch.arange(3.0), here / "tensor.pt")


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.register_buffer("mask", torch.tensor([[0.0, -1.0], [0.0, 0.0]]))

    def forward(self, x):
        return self.linear(x) @ self.mask


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.resblocks = torch.nn.Sequential(Block(), torch.nn.ReLU(), torch.nn.Linear(2, 2))
        self.positional_embedding = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2))
        self.input_resolution = 32
        self.scale = 0.5

    def forward(self, x):
        return self.resblocks(x) * self.scale + self.positional_embedding[0] + self.input_resolution


with torch.no_grad():
    model = Model()
    for i, p in enumerate(model.parameters()):
        p.copy_(torch.arange(p.numel()).reshape(p.shape) + 10 * i)
torch.jit.save(torch.jit.script(model), here / "script.pt")
torch.jit.save(torch.jit.script(model.half()), here / "script_half.pt")
model.float()
torch.save(model, here / "whole_module.pt")
expected = {k: [list(v.shape), v.flatten().tolist()] for k, v in model.state_dict().items()}
(here / "script.json").write_text(__import__("json").dumps(expected) + "\n")

# The same members, deflated by another program.
with zipfile.ZipFile(here / "tensor.pt") as source, zipfile.ZipFile(here / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as out:
    for item in source.namelist():
        out.writestr(item, source.read(item))


# Hostile archives: what a pickle asks for is never done.
class Runs:
    def __reduce__(self):
        return os.system, ("touch attune-was-here",)


torch.save({"a": Runs(), "w": torch.ones(2)}, here / "hostile_system.pt")


def archive(path, body, storages=(("0", bytes(8)),)):
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("archive/data.pkl", body)
        for key, content in storages:
            out.writestr(f"archive/data/{key}", content)


def tensor_pickle(offset=0, size=(2,), stride=(1,), numel=2, key="0", kind="FloatStorage"):
    def integer(x):
        return b"\x8a\x09" + x.to_bytes(9, "little", signed=True)[:9] if x >= 2**63 else b"\x8a\x08" + x.to_bytes(8, "little", signed=True)
    def tuple_of(xs):
        return b"(" + b"".join(integer(x) for x in xs) + b"t"
    def text(s):
        return b"X" + len(s).to_bytes(4, "little") + s.encode()
    pid = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + integer(numel) + b"tQ"
    return (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + pid + integer(offset) + tuple_of(size) + tuple_of(stride)
            + b"\x89ccollections\nOrderedDict\n)RtR.")


for name, arguments in {
    "good": {}, "offset": {"offset": 1}, "size": {"size": (3,)}, "stride": {"stride": (2,)},
    "overflow_size": {"size": (2**62, 8), "stride": (0, 0)}, "overflow_stride": {"size": (3,), "stride": (2**62 + 2**61,)},
    "huge_expand": {"size": (2**40,), "stride": (0,)}, "negative_size": {"size": (-1,)},
    "negative_stride": {"offset": 1, "size": (2,), "stride": (-1,)}, "negative_offset": {"offset": -1},
    "numel": {"numel": 2**61}, "axes": {"size": (2, 1)}, "missing_storage": {"key": "9"}, "parent_storage": {"key": "../data.pkl"},
    "complex": {"kind": "ComplexFloatStorage"}, "beyond_64_bits": {"offset": 2**64},
}.items():
    archive(here / f"tensor_{name}.pt", tensor_pickle(**arguments))

# An event file's records, as TensorBoard's own writer makes them.
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

with open(here / "event.bin", "wb") as out:
    value = summary_pb2.Summary.Value(tag="coop/loss", simple_value=0.25)
    event = event_pb2.Event(wall_time=1700000000.5, step=300, summary=summary_pb2.Summary(value=[value]))
    RecordWriter(out).write(event.SerializeToString())

# NumPy arrays.
numpy.save(here / "float.npy", numpy.arange(6, dtype="<f4").reshape(2, 3))
numpy.save(here / "integer.npy", numpy.arange(3, dtype="<i8"))
numpy.save(here / "scalar.npy", numpy.array(2.5, dtype="<f4"))
numpy.save(here / "fortran.npy", numpy.asfortranarray(numpy.arange(6, dtype="<f4").reshape(2, 3)))
numpy.save(here / "big_endian.npy", numpy.arange(3, dtype=">f4"))
numpy.save(here / "object.npy", numpy.array([{}]), allow_pickle=True)
