#include "attune/clip/contrastive.h"

namespace attune {

Tensor unit_rows(const Tensor& rows) {
  return rows / at::linalg_vector_norm(rows, 2, at::IntArrayRef{-1}, true).clamp_min(1e-12);
}

Tensor contrastive_loss(const Tensor& images, const Tensor& texts, const Tensor& keys, const Tensor& scale) {
  const Tensor logits = scale * at::mm(images, texts.t());
  Tensor targets = keys.unsqueeze(1).eq(keys.unsqueeze(0)).to(logits.scalar_type());
  targets = targets / targets.sum(1, /*keepdim=*/true);
  const Tensor by_image = (targets * at::log_softmax(logits, 1)).sum(1).mean();
  const Tensor by_text = (targets * at::log_softmax(logits.t(), 1)).sum(1).mean();
  return (by_image + by_text) * -0.5;
}

double mean_pairwise_cosine(const Tensor& rows) {
  at::NoGradGuard no_grad;
  const double count = static_cast<double>(rows.size(0));
  if (count < 2) return 0.0;
  // |sum of rows|^2 = count + sum over ordered pairs of different rows.
  const double squared = rows.sum(0).square().sum().item<double>();
  return (squared - rows.square().sum().item<double>()) / (count * (count - 1));
}

}  // namespace attune
