#pragma once

#include <immintrin.h>

// Only for sources whose functions carry ATTUNE_AVX512 and run where processor().avx512 holds.
#define ATTUNE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))

namespace attune::avx512 {

/// As in simd_avx2.h, sixteen at a time.
ATTUNE_AVX512 inline __m512 exp(__m512 x) {
  x = _mm512_min_ps(x, _mm512_set1_ps(88.0F));
  const __mmask16 large = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.3F), _CMP_GE_OQ);
  x = _mm512_max_ps(x, _mm512_set1_ps(-87.3F));
  const __m512 whole = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504F)), _MM_FROUND_TO_NEAREST_INT);
  __m512 rest = _mm512_fnmadd_ps(whole, _mm512_set1_ps(0.693359375F), x);
  rest = _mm512_fnmadd_ps(whole, _mm512_set1_ps(-2.12194440e-4F), rest);
  __m512 sum = _mm512_set1_ps(1.0F / 5040);
  for (const float term : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F}) {
    sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(term));
  }
  return _mm512_maskz_scalef_ps(large, sum, whole);
}

/// 1 / (1 + e^-x)
ATTUNE_AVX512 inline __m512 sigmoid(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0F);
  return _mm512_div_ps(one, _mm512_add_ps(one, exp(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

/// x sigmoid(1.702 x)
ATTUNE_AVX512 inline __m512 quick_gelu(__m512 x) {
  return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(_mm512_set1_ps(1.702F), x)));
}

/// Its derivative.
ATTUNE_AVX512 inline __m512 quick_gelu_slope(__m512 x) {
  const __m512 scaled = _mm512_mul_ps(_mm512_set1_ps(1.702F), x), s = sigmoid(scaled), one = _mm512_set1_ps(1.0F);
  return _mm512_mul_ps(s, _mm512_fmadd_ps(scaled, _mm512_sub_ps(one, s), one));
}

/// 16 x 16 words with rows and columns exchanged.
ATTUNE_AVX512 inline void transpose(__m512i (&row)[16]) {
  __m512i half[16];
  for (int i = 0; i < 16; i += 2) {
    half[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    half[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    row[i] = _mm512_unpacklo_epi64(half[i], half[i + 2]);
    row[i + 1] = _mm512_unpackhi_epi64(half[i], half[i + 2]);
    row[i + 2] = _mm512_unpacklo_epi64(half[i + 1], half[i + 3]);
    row[i + 3] = _mm512_unpackhi_epi64(half[i + 1], half[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {  // quarters 0 and 2, 1 and 3 of rows 4 apart
    half[i] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0x88);
    half[i + 4] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0xDD);
    half[i + 8] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0x88);
    half[i + 12] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0xDD);
  }
  for (int i = 0; i < 8; ++i) {
    row[i] = _mm512_shuffle_i32x4(half[i], half[i + 8], 0x88);
    row[i + 8] = _mm512_shuffle_i32x4(half[i], half[i + 8], 0xDD);
  }
}

/// The first `count` of 16, for any count.
inline __mmask16 first_of(long count) {
  return count >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1U << (count < 0 ? 0 : count)) - 1U);
}

}  // namespace attune::avx512
