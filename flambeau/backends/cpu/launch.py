"""Runs the chunks of a kernel's parallel regions. Knows no kernel."""
from __future__ import annotations

__all__ = ['start']


def start():
    import llvmlite.binding as llvm
    text = '''
define void @run(ptr %body, ptr %context, i64 %count) {
entry:
  br label %check
check:
  %i = phi i64 [ 0, %entry ], [ %j, %go ]
  %c = icmp slt i64 %i, %count
  br i1 %c, label %go, label %end
go:
  call void %body(ptr %context, i64 %i, i64 0)
  %j = add i64 %i, 1
  br label %check
end:
  ret void
}'''
    global engine
    m = llvm.parse_assembly(text)
    t = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    engine = llvm.create_mcjit_compiler(m, t)
    engine.finalize_object()
    llvm.add_symbol('flambeau_parallel', engine.get_function_address('run'))
