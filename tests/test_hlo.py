"""The reader of compiled programs, on programs small enough to be counted by hand."""

import re

import jax
import jax.numpy as jnp
import pytest

from .benchmarks import hlo, products

PROGRAM = """HloModule jit_f, entry_computation_layout={(f32[8,4]{1,0})->f32[8]{0}}

%fused (param_0: f32[8,4]) -> f32[8,4] {
  %param_0 = f32[8,4]{1,0} parameter(0)
  %exp = f32[8,4]{1,0} exponential(%param_0)
  ROOT %neg = f32[8,4]{1,0} negate(%exp)
}

%inner (arg.1: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %arg.1 = (s32[], f32[8,4]{1,0:T(8,128)}) parameter(0)
  %x.1 = f32[8,4]{1,0:T(8,128)} get-tuple-element(%arg.1), index=1
  %step.1 = f32[8,4]{1,0:T(8,128)} fusion(%x.1), kind=kLoop, calls=%fused
  %i.1 = s32[] get-tuple-element(%arg.1), index=0
  ROOT %out.1 = (s32[], f32[8,4]{1,0:T(8,128)}) tuple(%i.1, %step.1)
}

%more (arg.2: (s32[], f32[8,4])) -> pred[] {
  %arg.2 = (s32[], f32[8,4]{1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%arg.2), index=0
  %end = s32[] constant(5)
  ROOT %go = pred[] compare(%i.2, %end), direction=LT
}

%outer (arg.3: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %arg.3 = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %loop.3 = (s32[], f32[8,4]{1,0}) while(%arg.3), condition=%more, body=%inner, \
backend_config={"known_trip_count":{"n":"5"}}
}

%called (arg.4: f32[8,4]) -> (f32[8], bf16[8]) {
  %arg.4 = f32[8,4]{1,0} parameter(0)
  ROOT %both = (f32[8]{0:T(8)(2,1)}, /*index=1*/bf16[8]{0}) fusion(%arg.4), calls=%fused
}

ENTRY %main (x: f32[8,4], ids: s32[8]) -> f32[8] {
  %x = f32[8,4]{1,0} parameter(0), metadata={op_name="x (the \\"input\\")"}
  %ids = s32[8]{0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], f32[8,4]{1,0}) tuple(%zero, %x)
  %loop = (s32[], f32[8,4]{1,0}) while(%start), condition=%more, body=%outer, \
backend_config={"known_trip_count":{"n":"3"}}
  %y = f32[8,4]{1,0} get-tuple-element(%loop), index=1
  %pair = (f32[8]{0}, bf16[8]{0}) call(%y), to_apply=%called
  %narrow = bf16[8]{0} get-tuple-element(%pair), index=1
  %chosen = f32[8]{0} gather(%y, %ids), slice_sizes={1,1}, control-predecessors={%x}
  ROOT %sum = f32[8]{0} fusion(%narrow, %chosen), kind=kLoop, calls=%fused
}
"""
ENTRY = "ENTRY %main (x: f32[8]) -> f32[8] {\n  %x = f32[8]{0} parameter(0)\n"


def ran(text):
    return {i.name: (times, i.moved) for times, i in hlo.kernels(text)}


def test_every_kernel_counts_as_often_as_its_loops_turn():
    assert ran(PROGRAM) == {
        "step.1": (15, 128 + 128),  # five turns in each of three
        "both": (1, 128 + 32 + 16),  # a call, and a tuple of two arrays
        "chosen": (1, 128 + 32 + 32),  # the operand of a gather whole
        "sum": (1, 16 + 32 + 32),
    }
    assert hlo.traffic(PROGRAM) == 15 * 256 + 176 + 192 + 80
    assert hlo.collectives(PROGRAM) == {}


def test_the_condition_of_a_loop_tells_how_often_it_turns():
    text = PROGRAM.replace('"known_trip_count":{"n":"5"}', "")
    assert ran(text) == ran(PROGRAM)
    moving = text.replace("%end = s32[] constant(5)", "%end = s32[] get-tuple-element(%arg.2)")
    with pytest.raises(ValueError, match=r"how often the loop loop\.3 turns"):
        hlo.kernels(moving)


def test_of_an_array_updated_in_place_the_part_moves():
    body = (
        "%put (p: f32[8,4], q: f32[1,4]) -> f32[8,4] {\n"
        "  %p = f32[8,4]{1,0} parameter(0)\n  %q = f32[1,4]{1,0} parameter(1)\n"
        "  ROOT %d = f32[8,4]{1,0} dynamic-update-slice(%p, %q)\n}\n"
    )
    entry = "ENTRY %main (q: f32[1,4]) -> f32[8,4] {\n  %q = f32[1,4]{1,0} parameter(0)\n"
    entry += '  %new = f32[8,4]{1,0} custom-call(), custom_call_target="AllocateBuffer"\n'
    fused = "  ROOT %r = f32[8,4]{1,0} fusion(%new, %q), kind=kLoop, calls=%put\n}\n"
    alone = "  ROOT %r = f32[8,4]{1,0} dynamic-update-slice(%new, %q)\n}\n"
    # The part is read and written; the memory that is given is no kernel.
    assert ran(body + entry + fused) == ran(entry + alone) == {"r": (1, 16 + 16)}


def test_of_a_conditional_the_branch_that_moves_the_most_counts():
    body = "%{0} (a: f32[8]) -> f32[{1}] {{\n  %a = f32[8]{{0}} parameter(0)\n"
    body += "  ROOT %{0}.0 = f32[{1}]{{0}} custom-call(%a)\n}}\n"
    entry = ENTRY.replace("{\n", "{\n  %k = s32[] constant(1)\n")
    taken = "  ROOT %r = f32[8]{0} conditional(%k, %x, %x), branch_computations={%less, %most}\n}\n"
    text = body.format("less", 2) + body.format("most", 64) + entry + taken
    assert ran(text) == {"most.0": (1, 32 + 256)}


def test_a_transfer_that_is_awaited_later_counts_once():
    text = ENTRY + (
        "  %go = (f32[8]{0:S(1)}, f32[8]{0}, u32[]) copy-start(%x)\n"
        "  ROOT %came = f32[8]{0:S(1)} copy-done(%go)\n}\n"
    )
    assert ran(text) == {"go": (1, 64)}


def test_collectives_are_told_apart_from_kernels():
    text = ENTRY + (
        "  %go = (f32[8]{0}, f32[32]{0}) all-gather-start(%x), replica_groups={{0,1,2,3}}\n"
        "  %all = f32[32]{0} all-gather-done(%go)\n"
        "  ROOT %r = f32[8]{0} reduce-scatter(%all), to_apply=%add\n}\n"
    )
    assert hlo.collectives(text) == {"all-gather": 32, "reduce-scatter": 128}
    assert hlo.kernels(text) == []


def test_a_reduction_of_which_a_part_is_kept_scatters():
    text = (
        "%all-reduce-scatter.1 (input: f32[32]) -> f32[8] {\n"
        "  %input = f32[32]{0} parameter(0)\n"
        "  %sum = f32[32]{0} all-reduce(%input), to_apply=%add\n"
        "  ROOT %mine = f32[8]{0} dynamic-slice(%sum)\n}\n"
    ) + ENTRY.replace("f32[8]{0} parameter", "f32[32]{0} parameter")
    text += "  ROOT %r = f32[8]{0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1\n}\n"
    assert hlo.transfers(text) == [hlo.Transfer("reduce-scatter", "f32[32]", 128, 1, False)]
    assert hlo.kernels(text) == []


def test_transfers_tell_the_larger_side_and_what_loops_repeat():
    inside = "  %step.1 = f32[8,4]{1,0} all-reduce(%x.1), to_apply=%add\n"
    text = re.sub(r"  %step\.1 = .*\n", inside, PROGRAM)
    before = "  %zero = s32[] constant(0)\n"
    text = text.replace(
        before,
        before
        + (
            "  %both = ((f32[8,4]{1,0}), f32[2,4]{1,0}) reduce-scatter-start(%x), to_apply=%add\n"
            "  %part = f32[2,4]{1,0} reduce-scatter-done(%both)\n"
            "  %one = (s32[8]{0}, s32[32]{0}) all-gather-start(%ids), dimensions={0}\n"
            "  %two = (s32[8]{0}, s32[32]{0}) all-gather-start(%ids), dimensions={0}\n"
            "  %more.1 = ((s32[8]{0}, f32[2,4]{1,0}), (s32[32]{0}, f32[8,4]{1,0}))"
            " all-gather-start(%ids, %part), dimensions={0}\n"
            "  %sums = f32[2,4]{1,0} all-reduce-start(%part), to_apply=%add\n"
        ),
    )
    assert hlo.transfers(text) == [
        hlo.Transfer("all-gather", "s32[32]", 256, 1, False),
        hlo.Transfer("reduce-scatter", "f32[8,4]", 128, 1, False),
        hlo.Transfer("all-gather", "s32[32]", 128, 2, False),
        hlo.Transfer("all-reduce", "f32[8,4]", 128, 15, True),
        hlo.Transfer("all-reduce", "f32[2,4]", 32, 1, False),
    ]


def product(call, result="f32[8,6]{1,0}", others=""):
    """A program of one product, of (8, 4) and (4, 6) unless others are given."""
    given = others or "%a = bf16[8,4]{1,0} parameter(0)\n  %b = bf16[4,6]{1,0} parameter(1)"
    return f"ENTRY %main () -> f32[] {{\n  {given}\n  ROOT %r = {result} {call}\n}}\n"


@pytest.mark.parametrize(
    "text, flops",
    [
        (product("dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}"), 2 * 8 * 4 * 6),
        (
            product(
                'custom-call(%a, %b), custom_call_target="__cublas$gemm", backend_config={"gemm_'
                'backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],'
                '"rhs_contracting_dimensions":["0"]}}}',
                "(f32[8,6]{1,0}, s8[1024]{0})",
            ),
            2 * 8 * 4 * 6,
        ),
        (product("convolution(%a, %b), dim_labels=bf_io->bf"), 2 * 8 * 4 * 6),
        (product('custom-call(%a, %b), custom_call_target="TopK"'), 0),
    ],
    ids=["dot", "library", "convolution", "no product"],
)
def test_flops_of_a_product(text, flops):
    assert products.flops(text) == flops


@pytest.mark.parametrize(
    "shapes, call, pairs",
    [
        # A window over what is summed: 3 of its 3 places.
        (("[3,8,4]", "[3,4,6]", "[1,8,6]"), "window={size=3}, dim_labels=0bf_0io->0bf", 3),
        # Three batches as places of a window: each result meets one of the three, others padding.
        (
            ("[3,8,4]", "[3,4,6]", "[3,8,6]"),
            "window={size=3 stride=2 pad=0_0 lhs_dilate=3}, dim_labels=0bf_0io->0bf",
            3,
        ),
        # Five results of a window of three over five, with one of padding at each end.
        (("[5,8,4]", "[3,4,6]", "[5,8,6]"), "window={size=3 pad=1_1}, dim_labels=0bf_0io->0bf", 13),
        # The last of two places is the second of the window.
        (
            ("[8,1,2,4]", "[1,2,4,6]", "[8,1,1,6]"),
            "window={size=1x2 pad=0_0x0_0}, dim_labels=b01f_01io->b01f",
            2,
        ),
    ],
    ids=["sum", "batch", "padded", "two axes"],
)
def test_flops_of_a_window(shapes, call, pairs):
    lhs, rhs, out = shapes
    given = f"%a = bf16{lhs} parameter(0)\n  %b = bf16{rhs} parameter(1)"
    text = product(f"convolution(%a, %b), {call}", f"f32{out}", given)
    assert products.flops(text) == 2 * pairs * 8 * 4 * 6


def test_a_product_in_a_fusion_counts_as_often_as_its_loops_turn():
    fused = "  %neg.1 = f32[8,8]{1,0} dot(%exp, %exp), lhs_contracting_dims={1}\n"
    text = PROGRAM.replace("  ROOT %neg", f"{fused}  ROOT %neg")
    # The loop, a fusion in a call, and one at the end.
    assert products.flops(text) == 2 * 8 * 8 * 4 * (15 + 1 + 1)


@pytest.mark.parametrize(
    "type, size",
    [
        ("bf16[3,5]{1,0:T(8,128)(2,1)}", 30),
        ("pred[7]", 7),
        ("f8e4m3fn[4]", 4),
        ("s4[3]", 2),
        ("f64[]", 8),
        ("token[]", 0),
        ("(s32[], (f32[2], c64[2]))", 28),
    ],
)
def test_sizes_of_types(type, size):
    assert hlo.nbytes(type) == size


def test_a_program_compiled_here_reads_as_it_was_written():
    def f(x):
        return jax.lax.scan(lambda y, _: (jnp.sin(y @ y), None), x, None, length=7)[0]

    x = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    text = jax.jit(f).lower(x).compile().as_text()
    assert products.flops(text) == 7 * 2 * 64**3
    # Each turn reads and writes 64² numbers for the product and for the sine.
    assert 7 * 4 * 4 * 64**2 <= hlo.traffic(text) < 8 * 5 * 4 * 64**2
