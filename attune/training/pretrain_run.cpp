#include "attune/training/pretrain_run.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json_count.h"
#include "attune/training/pretrain_recipe.h"

namespace attune {
namespace {

constexpr const char* kCheckpoint = "checkpoint.safetensors";
constexpr const char* kRecipe = "recipe.yaml";
constexpr std::string_view kOptimiser = "optimiser.";

}  // namespace

bool PretrainRun::has_checkpoint() const {
  return std::filesystem::exists(folder_ / kCheckpoint);
}

PretrainPosition PretrainRun::begin(const Config& recipe, bool resume, TensorMap& tensors) const {
  PretrainPosition position;
  if (resume && has_checkpoint()) {
    check_same_recipe(recipe, folder_ / kRecipe);
    position = load_checkpoint(tensors);
  } else if (has_checkpoint()) {
    throw UsageError(fmt::format("{}: holds a run already; resume it or name another folder", folder_.string()));
  }
  return position;
}

void PretrainRun::keep_recipe(const Config& recipe) const {
  write_file(folder_ / kRecipe, recipe.to_yaml());
}

void PretrainRun::save_checkpoint(const PretrainPosition& position, TensorMap tensors,
                                  const Optimiser* optimiser) const {
  if (optimiser != nullptr) {
    for (const auto& [name, tensor] : optimiser->state()) tensors[std::string(kOptimiser) + name] = tensor;
  }
  const Json place = {{"stage", position.stage},       {"step", position.step},       {"draws", position.draws},
                      {"samples", position.samples},   {"seconds", position.seconds}, {"log_bytes", position.log_bytes},
                      {"loss_sum", position.loss_sum}, {"summed", position.summed}};
  save_tensors(folder_ / kCheckpoint, tensors, {{"position", place.dump()}});
}

PretrainPosition PretrainRun::load_checkpoint(TensorMap& tensors) const {
  const std::filesystem::path path = folder_ / kCheckpoint;
  tensors = load_tensors(path);
  const SafetensorsFile file(path);
  const auto found = file.metadata().find("position");
  if (found == file.metadata().end()) {
    throw Error(fmt::format("{}: expected the metadata 'position' of a checkpoint, found none", path.string()));
  }
  const std::string where = path.string();
  const Json place = parse_json(found->second, where);
  return {count_at(place, "stage", where),
          count_at(place, "step", where),
          count_at(place, "draws", where),
          count_at(place, "samples", where),
          json_at<double>(place, "seconds", where),
          static_cast<std::uint64_t>(count_at(place, "log_bytes", where)),
          json_or<double>(place, "loss_sum", 0.0, where),
          place.contains("summed") ? count_at(place, "summed", where) : 0};
}

void PretrainRun::keep_pictures(const Json& list, bool resumed) const {
  const std::filesystem::path path = folder_ / "pictures.json";
  if (!resumed) return write_json(path, list);
  const auto former = json_at<std::string>(read_json(path), "sha256", path.string());
  const auto found = list.at("sha256").get<std::string>();
  if (former != found) {
    throw UsageError(fmt::format("{}: a run goes on only with its own pictures; expected those of {}, found {}",
                                 path.string(), former, found));
  }
}

void PretrainRun::replace_model(const std::function<void(const std::filesystem::path&)>& write) const {
  const std::filesystem::path model = folder_ / "model", fresh = folder_ / "model.new", former = folder_ / "model.old";
  std::filesystem::remove_all(fresh);
  std::filesystem::create_directories(fresh);
  write(fresh);
  std::filesystem::remove_all(former);
  if (std::filesystem::exists(model)) std::filesystem::rename(model, former);
  std::filesystem::rename(fresh, model);
  std::filesystem::remove_all(former);
}

std::unique_ptr<Optimiser> make_pretrain_optimiser(const std::vector<Parameter>& parameters, const Config& recipe,
                                                   const TensorMap& checkpoint) {
  ParameterGroup matrices{{}, 1.0, recipe.number("optimiser.weight_decay")}, vectors{{}, 1.0, 0.0};
  for (const Parameter& parameter : parameters) {
    const bool matrix = parameter.value.squeeze().dim() >= 2;
    (matrix ? matrices : vectors).parameters.push_back(parameter);
  }
  auto optimiser = make_adam({matrices, vectors}, {.beta1 = recipe.number("optimiser.beta1"),
                                                   .beta2 = recipe.number("optimiser.beta2"),
                                                   .epsilon = recipe.number("optimiser.epsilon")});
  TensorMap state;
  for (const auto& [name, tensor] : checkpoint) {
    if (name.starts_with(kOptimiser)) state[name.substr(kOptimiser.size())] = tensor;
  }
  optimiser->load_state(state);
  return optimiser;
}

double pretrain_step(Optimiser& optimiser, const Tensor& loss, const Config& recipe, double rate,
                     const std::string& where, std::int64_t step) {
  const double value = loss.item<double>();
  loss.backward();
  const double norm = clip_gradient_norm(optimiser.groups(), recipe.number("optimiser.clip"));
  if (!std::isfinite(norm) || !std::isfinite(value)) {
    check_finite(optimiser.groups(), step);
    throw Error(fmt::format("{}, step {}: expected a finite loss and gradient, found loss {}, norm {}", where, step,
                            value, norm));
  }
  optimiser.step(rate);
  return value;
}

}  // namespace attune
