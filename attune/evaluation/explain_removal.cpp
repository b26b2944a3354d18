#include "attune/evaluation/explain_removal.h"

#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/evaluation/experiment.h"
#include "attune/evaluation/explain_words.h"
#include "attune/training/trainer.h"

namespace attune {
namespace {

/// `tensor` without index `at` of dimension `dim`.
Tensor without(const Tensor& tensor, std::int64_t dim, std::int64_t at) {
  const std::int64_t size = tensor.size(dim);
  return at::cat({tensor.narrow(dim, 0, at), tensor.narrow(dim, at + 1, size - at - 1)}, dim).contiguous();
}

class Remover {
 public:
  Remover(const std::shared_ptr<const ClipModel>& model, const AdapterInfo& info, const TensorMap& adapter,
          const ClassNames& classes, Inputs& inputs)
      : model_(model), info_(info), adapter_(adapter), classes_(classes), inputs_(inputs) {}

  double measured(const AdapterInfo& info, const TensorMap& tensors) const {
    const std::unique_ptr<Classifier> learned = make_adapter(info, tensors, model_, "explain");
    learned->set_classes(classes_);
    return accuracy(*learned, inputs_);
  }
  double whole() const { return measured(info_, adapter_); }

  double replaced(const std::string& name, std::int64_t token, const Tensor& by) const {
    TensorMap tensors = adapter_;
    tensors[name] = tensors[name].clone();
    tensors[name].select(-2, token).copy_(by);
    return measured(info_, tensors);
  }
  /// Nothing where the method has no context of that length.
  std::optional<double> left_out(const std::string& name, std::int64_t token) const {
    const Tensor& tensor = adapter_.at(name);
    if (!info_.config.contains("context.length") || tensor.size(-2) < 2) return std::nullopt;
    AdapterInfo shorter = info_;
    shorter.config["context.length"] = tensor.size(-2) - 1;
    shorter.config["context.init"] = "";
    TensorMap tensors = adapter_;
    tensors[name] = without(tensor, tensor.dim() - 2, token);
    try {
      return measured(shorter, tensors);
    } catch (const UsageError&) {
      return std::nullopt;  // such as ProGrad's, which must hold the words it starts from
    }
  }
  double without_prompt(const std::string& name, std::int64_t prompt) const {
    AdapterInfo fewer = info_;
    const Tensor& tensor = adapter_.at(name);
    fewer.config["prompts"] = tensor.size(0) - 1;
    TensorMap tensors = adapter_;
    tensors[name] = without(tensor, 0, prompt);
    return measured(fewer, tensors);
  }

 private:
  const std::shared_ptr<const ClipModel>& model_;
  const AdapterInfo& info_;
  const TensorMap& adapter_;
  const ClassNames& classes_;
  Inputs& inputs_;
};

bool predicts(const std::string& name) {
  return name.find("labels.") == std::string::npos;
}

}  // namespace

Removal remove_tokens(const std::shared_ptr<const ClipModel>& model, const AdapterInfo& info, const TensorMap& adapter,
                      const ClassNames& classes, Inputs& inputs, const Tensor& mean_embedding) {
  const at::NoGradGuard no_gradients;
  const Remover remover(model, info, adapter, classes, inputs);
  Removal removal;
  removal.pictures = inputs.size();
  removal.whole = remover.whole();
  removal.zero_shot = accuracy(*zero_shot(model, classes), inputs);
  for (const auto& [name, tensor] : adapter) {
    if (!holds_text_tokens(name, tensor, model->config.text.width) || !predicts(name)) continue;
    const bool deep = name.starts_with("text.") && name != "text.0";
    const Tensor otherwise = deep ? at::zeros_like(mean_embedding) : mean_embedding;
    for (std::int64_t token = 0; token < tensor.size(-2); ++token) {
      const std::optional<double> shorter = remover.left_out(name, token);
      if (shorter) {
        removal.removed.push_back({name, token, "left out", *shorter});
      } else {
        removal.removed.push_back(
            {name, token, deep ? "zeros" : "mean embedding", remover.replaced(name, token, otherwise)});
      }
    }
    if (!info.config.contains("prompts") || tensor.dim() != 3) continue;
    for (std::int64_t prompt = 0; prompt < tensor.size(0) && tensor.size(0) > 1; ++prompt) {
      removal.removed.push_back({name, prompt, "prompt left out", remover.without_prompt(name, prompt)});
    }
  }
  return removal;
}

}  // namespace attune
