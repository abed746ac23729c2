"""The page of all tables as a template: `python -m tests.benchmarks.tables` fills the blocks in."""

# The options that measure a file of results/ again, by its name.
COMMANDS = {
    "accuracy": "--suite accuracy",
    "exhaustive": "--suite exhaustive",
    "exhaustive-h200": "--suite exhaustive",
    "dense": "--suite dense --suite dispatch --suite compile",
    "dense-small": "--suite dense --shape 32x10",
    "dense-newest": "--suite dense --shape 2048x32768 --shape 65536x1000",
    "dense-h200": "--suite dense",
    "linear": "--suite linear",
    "linear-h200": "--suite linear --dtype bfloat16",
    "accelerators-h200": "--suite accelerators --target h200",
    "accelerators-v5p": "--suite accelerators --target v5p:2x2x1",
    "heads-h200": "--suite heads --target h200",
    "heads-v5p": "--suite heads --target v5p:2x2x2",
}
_RESULTS = "tests/benchmarks/results"
_LINES = "\n".join(
    f"    python -m tests.benchmarks {options} --json {_RESULTS}/{name}.json"
    for name, options in COMMANDS.items()
)


def _block(name: str) -> str:
    return f"<!-- table: {name} -->\n<!-- end -->"


PAGE = f"""\
# Accuracy, speed, and programs

Every table is made of a file in `results/` by `python -m tests.benchmarks.tables`, and so is this
text around them. Under each stands on what it was measured: dtype, device, versions, commit.
Times are medians of rounds in which all variants take turns; ratios are shown, since seconds
belong to a machine.

## Accuracy

Relative errors on hard inputs, value / gradient, against a reference of 60 digits. In bold is
what is wrong in kind (0, NaN, negative, finite where the truth is not); an error of 1e0 or more
has no digit right. The gradient of a bfloat16 input is rounded to bfloat16 everywhere.

{_block("accuracy")}

## Every input there is

The worst errors over all logits, in units in the last place of the result's dtype, and the logit
where they occur, against formulae in float64: of the binary row and of two classes at all 2³²
float32 logits; of narrow logits at all 2¹⁶, and for two classes at all 2³² pairs of them, where
the rounding of the difference of two logits counts: of one of 70 it moves the loss e⁻⁷⁰ by 64
units. Results below 2⁻¹¹⁸ are compared with 0, since a device may flush what they are made of. A
compiler may skip the rounding of a narrow gradient before it is compared. On a CPU, where the
suite takes an hour on two cores:

{_block("exhaustive")}

On a GPU:

{_block("exhaustive-h200")}

## Linear heads on an NVIDIA H200

Loss and both gradients of the cross entropy of a head, tokens × features × classes. Times are in
units of as many bare matrix products of the same operands as the loss and its gradients take at
the least: three for a mean (or a sum), four for one loss per token. The peers do the same work in
both rows. Ours keeps float32 logits, of a chunk at a time; those of PyTorch and of Liger are
rounded to bfloat16. Bare products of 50,257 classes, an odd number, are slow as they stand; ours
fills the classes up to a multiple of 128, and can be faster.

{_block("linear-h200")}

{_block("linear-h200-temporaries")}

## Dense functions on an NVIDIA H200

**÷ best peer**: time of ours ÷ time of the fastest peer expression for the same quantity, both
compiled. **÷ limit**: ÷ what the device needs to read every input once, with one exponential
where the formula has one, and to write every gradient once, measured in the same rounds: by one
kernel for each, so that one kernel for all, or a small array, can be below 1.
**temporaries**: memory besides inputs and outputs, in percent of the inputs. Rows × classes:

8192 × 131072

{_block("dense-h200-8192x131072")}

65536 × 4096

{_block("dense-h200-65536x4096")}

1048576 × 1000

{_block("dense-h200-1048576x1000")}

## Dense functions on a CPU

A process with a single CPU device works in blocks of rows that stay in cache, which is why it
needs few temporaries. What exactness costs shows in the value at class ids, where the label is
left out of the sum of the others, and in the divergences of softmaxes, where each weight is
corrected for the rounding of m − z.

2048 × 32768

{_block("dense-2048x32768")}

65536 × 1000

{_block("dense-65536x1000")}

The same on a newer Python and JAX:

{_block("dense-newest-2048x32768")}

{_block("dense-newest-65536x1000")}

32 × 10, where a call costs what its dispatch costs:

{_block("dense-small-32x10")}

An eager call on three numbers; peers run operation by operation unless jitted:

{_block("dense-dispatch")}

Seconds to trace and compile a gradient with nothing traced before, the operations of its trace
(÷ those of the peer with the fewest), and where XLA complains of constant folding:

{_block("dense-compile")}

## Linear heads on a CPU

{_block("linear")}

{_block("linear-temporaries")}

## Programs for GPUs and TPUs

The tables below tell what the compilers of an NVIDIA H200 and of a TPU v5p make of each function,
beside the expression of a peer. They are read from programs that were compiled ahead of time for
devices that were not there: structure, not time. Seconds on a device are not among them, and
nothing was tuned for one.

- Where a cell has two numbers, the first is for float32 inputs, the second for bfloat16 inputs.
- **traffic**: bytes that all kernels read and write, in units of the least, which is every input
  read once and every output of ours written once. A loop counts as often as it turns. An operand
  counts whole, even where a kernel gathers a few numbers from it: a peer that gathers the logit
  of the label pays for one read of the logits in these units. Of an array that is updated in
  place, what is written counts. A peer that returns bfloat16 where we return float32 writes less,
  and may be below 1.
- **temporaries**: memory besides inputs and outputs, in percent of the inputs.
- **kernels**: how many are launched.
- **compile, s**: seconds to trace and compile, on the CPU that the caption names.
- **estimate ÷ peer's**: the time that the TPU compiler expects, as a ratio. The GPU compiler
  tells none.

### NVIDIA H200

#### Value

{_block("accelerators-h200-4096x49152-value")}

#### Value and gradient

{_block("accelerators-h200-4096x49152-value-and-gradient")}

### TPU v5p

Four functions; compiling the divergences for a TPU takes up to a minute each, and `--suite
accelerators --target v5p:2x2x1` tells of all.

#### Value

{_block("accelerators-v5p-8192x32768-value")}

#### Value and gradient

{_block("accelerators-v5p-8192x32768-value-and-gradient")}

### Linear heads

Loss and both gradients of the mean cross entropy of a head, in bfloat16. The dense expression of
optax forms all logits. **dw** is the gradient by w in float32, in which a loop over chunks of the
tokens sums it; where all tokens are one chunk it is never kept.

#### One H200

{_block("heads-h200-one-device")}

#### A TPU v5p

{_block("heads-v5p-one-device")}

#### Eight devices

A mesh of 2 × 4 devices with the axes `data` and `model`, 16 sequences of 2048 tokens (x) and a
head (w) of GPT-2 (768 features, 50,257 classes, which four devices cannot share evenly), of
SmolLM (960, 49,152) or of Qwen (4096, 151,936). `P(None, "data")` splits the sequences along
their length. The gradients are split as x and w are. By hand means in `jax.shard_map` with
`axis_name="model"`, where w is gathered along `data` first.

- **FLOPs ÷ share**: what a device multiplies and adds in matrix products, ÷ its share of three
  products of all tokens: an eighth, or a half where neither x nor w is split over the four
  devices along `model`, which then do the same work.
- **collectives**: those above 1 MiB, with the larger side of each, what goes in or comes out, as
  a device holds it; those that loops repeat in a column of their own, how often before each.

On H200s:

{_block("heads-h200-meshes")}

On TPUs v5p:

{_block("heads-v5p-meshes")}

## Measuring again

The suites `accelerators` and `heads` compile for devices that are not there: that takes a
compiler, 130 MB each, but no driver and no device; each may be in an environment of its own, and
only one process at a time can compile for TPUs. The command names what is missing for a target.
Other targets are TPUs such as `v5e:2x4`, `v6e:2x4` or `tpu7x:2x2x1`. The other suites run on the
device that JAX finds, and beside the peers that are installed. `--function`, `--shape` and
`--dtype` choose rows; for heads `--shape` gives tokens and classes of 4096 features, on one
device.

{_LINES}
    python -m tests.benchmarks.tables
"""
