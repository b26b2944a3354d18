#pragma once

namespace attune {

struct ProductKernel;
struct SequenceKernel;
enum class ProductType;

/// Instructions of this processor that kernels are written for. All false on processors other than x86-64 and where
/// the build is portable (ATTUNE_PORTABLE): then everything runs on LibTorch's operations.
struct Processor {
  bool avx2 = false;    // with fused multiply-add
  bool avx512 = false;  // F, BW, DQ and VL
  bool bf16 = false;    // dot products of bf16 pairs in AVX-512
  bool int8 = false;    // dot products of bytes in AVX-512 (VNNI)
  bool amx_bf16 = false;
};

const Processor& processor();

/// The kernel of products for this processor; null where LibTorch's own products are the better choice: without AVX2,
/// for int8 without VNNI, for bf16 without bf16 instructions and, as oneDNN has kernels for those, with AMX.
const ProductKernel* product_kernel(ProductType type);
/// The kernel of attention over sequences; null where there is none.
const SequenceKernel* sequence_kernel();

}  // namespace attune
