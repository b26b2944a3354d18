#pragma once

#include <immintrin.h>

// Only for sources whose functions carry ATTUNE_AVX2 and run where processor().avx2 holds.
#define ATTUNE_AVX2 __attribute__((target("avx2,fma")))

namespace attune::avx2 {

/// e^x, relative error below 2e-7; 0 below -87.3, as large as float gets above 88.
ATTUNE_AVX2 inline __m256 exp(__m256 x) {
  x = _mm256_min_ps(x, _mm256_set1_ps(88.0F));
  const __m256 small = _mm256_cmp_ps(x, _mm256_set1_ps(-87.3F), _CMP_LT_OQ);
  x = _mm256_max_ps(x, _mm256_set1_ps(-87.3F));
  const __m256 whole = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)), _MM_FROUND_TO_NEAREST_INT);
  // ln 2 in two parts, so that the rest keeps all its bits.
  __m256 rest = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0.693359375F), x);
  rest = _mm256_fnmadd_ps(whole, _mm256_set1_ps(-2.12194440e-4F), rest);
  __m256 sum = _mm256_set1_ps(1.0F / 5040);
  for (const float term : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F}) {
    sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(term));
  }
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
  return _mm256_andnot_ps(small, _mm256_mul_ps(sum, _mm256_castsi256_ps(power)));
}

/// 1 / (1 + e^-x)
ATTUNE_AVX2 inline __m256 sigmoid(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0F);
  return _mm256_div_ps(one, _mm256_add_ps(one, exp(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

/// x sigmoid(1.702 x)
ATTUNE_AVX2 inline __m256 quick_gelu(__m256 x) {
  return _mm256_mul_ps(x, sigmoid(_mm256_mul_ps(_mm256_set1_ps(1.702F), x)));
}

/// Its derivative, s (1 + 1.702 x (1 - s)) with s = sigmoid(1.702 x).
ATTUNE_AVX2 inline __m256 quick_gelu_slope(__m256 x) {
  const __m256 scaled = _mm256_mul_ps(_mm256_set1_ps(1.702F), x), s = sigmoid(scaled), one = _mm256_set1_ps(1.0F);
  return _mm256_mul_ps(s, _mm256_fmadd_ps(scaled, _mm256_sub_ps(one, s), one));
}

/// 8 x 8 numbers with rows and columns exchanged.
ATTUNE_AVX2 inline void transpose(__m256 (&row)[8]) {
  __m256 pair[8], quad[8];
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0x44);
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], 0xEE);
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0x44);
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    row[i] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20);
    row[i + 4] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31);
  }
}

ATTUNE_AVX2 inline float sum(__m256 x) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

}  // namespace attune::avx2
