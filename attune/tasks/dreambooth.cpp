#include "attune/tasks/dreambooth.h"

#include <utility>

#include "attune/base/error.h"

namespace attune {
namespace {

constexpr const char* kUNet = "unet.";

}  // namespace

DreamBooth::DreamBooth(const Tensor& embeddings, bool train_embeddings, std::shared_ptr<TrainableUNet> network,
                       const OptimSettings& settings, Task* task, PriorPreservation prior)
    : embeddings_(embeddings.detach().clone().requires_grad_(train_embeddings)),
      network_(std::move(network)),
      settings_(settings),
      task_(task),
      prior_(std::move(prior)) {}

Stages DreamBooth::stages(const TrainingData&) {
  if (task_ == nullptr) throw Error("dreambooth: expected a task to learn for, found none");
  ParameterGroup group{parameters_of(network_->parameters())};
  if (embeddings_.requires_grad()) group.parameters.push_back({"embeddings", embeddings_});
  Stages stages;
  stages.push_back(make_descent_stage(
      {"dreambooth", settings_, {std::move(group)}, [this](const Batch& batch, std::int64_t step) {
         task_->begin_step(step);
         Objective own = task_->loss(embeddings_, batch.samples);
         if (prior_.task == nullptr) return own;
         prior_.task->begin_step(step);
         const Objective kind = prior_.task->loss(prior_.hidden, batch.samples);
         return Objective{own.loss + prior_.weight * kind.loss,
                          {},
                          {{"concept_loss", own.loss.item<double>()}, {"prior_loss", kind.loss.item<double>()}}};
       }}));
  return stages;
}

TensorMap DreamBooth::state() const {
  TensorMap state{{"embeddings", embeddings_.detach()}};
  add_state(state, kUNet, detached(network_->parameters()));
  return state;
}

void DreamBooth::load_state(const TensorMap& state) {
  copy_state(state, this->state(), "dreambooth");
}

}  // namespace attune
