"""The reader of compiled programs, on programs small enough to be counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from .benchmarks import hlo

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


def test_a_loop_that_nobody_counted_is_refused():
    with pytest.raises(ValueError, match=r"how often the loop loop\.3 turns"):
        hlo.kernels(PROGRAM.replace('"known_trip_count":{"n":"5"}', ""))


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
    # Each turn reads and writes 64² numbers for the product and for the sine.
    assert 7 * 4 * 4 * 64**2 <= hlo.traffic(text) < 8 * 5 * 4 * 64**2
