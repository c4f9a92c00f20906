// Command vetalign is a tool of `go vet -vettool`: it finds 64-bit numbers that sync/atomic's
// functions reach at an address that is no multiple of eight. A 32-bit router panics there, and no
// test on a workstation does. `make lint` runs it over our packages and over all that the router
// binary links; it is never shipped.
//
// x/tools has such a check, atomicalign, but not for a field behind a pointer, so not for the
// receiver of a method, which is where nearly all of them are. This one counts from the place where
// an allocation begins. What a pointer points to is taken for such a place, which is wrong for a
// pointer into the middle of a struct: the typed atomics (atomic.Int64) are always aligned.
package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/singlechecker"
	"golang.org/x/tools/go/types/typeutil"
)

func main() { singlechecker.Main(analyzer) }

var analyzer = &analysis.Analyzer{
	Name: "align",
	Doc:  "find 64-bit numbers that are not aligned for sync/atomic on 32-bit machines",
	Run:  run,
}

func run(pass *analysis.Pass) (any, error) {
	if pass.TypesSizes.Sizeof(types.Typ[types.Uintptr]) != 4 {
		return nil, nil
	}
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			f, ok := typeutil.Callee(pass.TypesInfo, call).(*types.Func)
			if !ok || f.Signature().Recv() != nil || f.Pkg() == nil || f.Pkg().Path() != "sync/atomic" || !strings.HasSuffix(f.Name(), "64") {
				return true
			}
			address, ok := ast.Unparen(call.Args[0]).(*ast.UnaryExpr)
			if !ok || address.Op != token.AND {
				return true
			}
			if at := offset(pass, address.X); at%8 != 0 {
				pass.Reportf(address.Pos(), "address that is no multiple of 8 passed to atomic.%s", f.Name())
			}
			return true
		})
	}
	return nil, nil
}

// offset counts the bytes from the beginning of the allocation that x is in, which the
// runtime aligns to eight.
func offset(pass *analysis.Pass, x ast.Expr) int64 {
	switch x := ast.Unparen(x).(type) {
	case *ast.SelectorExpr:
		field, ok := pass.TypesInfo.Selections[x]
		if !ok {
			return 0 // a variable of another package
		}
		at := int64(0)
		if !isPointer(field.Recv()) {
			at = offset(pass, x.X)
		}
		// On the way to a promoted field there are those that it is promoted from.
		of := field.Recv()
		for _, i := range field.Index() {
			if p, ok := of.Underlying().(*types.Pointer); ok {
				of, at = p.Elem(), 0
			}
			s, ok := of.Underlying().(*types.Struct)
			if !ok {
				return 0 // of a type parameter: unknown
			}
			at += offsets(pass, s)[i]
			of = s.Field(i).Type()
		}
		return at
	case *ast.IndexExpr:
		at, of := int64(0), pass.TypesInfo.TypeOf(x.X).Underlying()
		switch t := of.(type) {
		case *types.Slice:
			of = t.Elem()
		case *types.Array:
			at, of = offset(pass, x.X), t.Elem()
		case *types.Pointer:
			a, ok := t.Elem().Underlying().(*types.Array)
			if !ok {
				return 0
			}
			of = a.Elem()
		default:
			return 0
		}
		index := int64(1) // any: what holds for the second one holds for all
		if v := pass.TypesInfo.Types[x.Index].Value; v != nil {
			index, _ = constant.Int64Val(v)
		}
		return at + index*pass.TypesSizes.Sizeof(of)
	}
	return 0
}

func isPointer(t types.Type) bool {
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

func offsets(pass *analysis.Pass, s *types.Struct) []int64 {
	fields := make([]*types.Var, s.NumFields())
	for i := range fields {
		fields[i] = s.Field(i)
	}
	return pass.TypesSizes.Offsetsof(fields)
}
