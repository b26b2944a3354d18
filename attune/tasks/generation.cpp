#include "attune/tasks/generation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNetwork = "unet.";

void check_rows(const LearnedConcept& found, const char* name, std::int64_t width) {
  const auto tensor = found.tensors.find(name);
  if (tensor == found.tensors.end()) return;
  const Tensor& rows = tensor->second;
  if (rows.dim() != 2 || rows.size(0) < 1 || rows.size(1) != width || !rows.is_floating_point()) {
    throw Error(fmt::format("adapter {}: expected '{}' to have the shape [n, {}], found [{}]", found.folder.string(),
                            name, width, fmt::join(rows.sizes(), ", ")));
  }
}

void check_request(const Request& request, const LearnedConcept* found, const DiffusionDescription& model) {
  if (found == nullptr && !request.prompt) throw UsageError("generate: expected --adapter or --prompt, found neither");
  if (found != nullptr && found->has_rows() && !found->has_network() && request.prompt) {
    throw UsageError(
        "generate: the rows of this adapter stand in place of a text: --prompt has no place beside --adapter");
  }
  if (request.prompt && request.prompt->find("{}") != std::string::npos && (found == nullptr || !found->has_token())) {
    throw UsageError(fmt::format(
        "--prompt: {{}} is the place of a learned word, expected an --adapter that holds one, found none for '{}'",
        *request.prompt));
  }
  const bool texts = request.scale != 1.0 || request.prompt || (found != nullptr && !found->has_rows());
  if (texts && !model.text) {
    throw UsageError(
        fmt::format("generate: {} has no text_encoder/: only --prompt-scale 1 with an adapter of rows works without it",
                    model.folder.string()));
  }
  if (request.negative && request.scale == 1.0) {
    throw UsageError("generate: with --prompt-scale 1 nothing is guided away from: --negative has no effect");
  }
}

/// The sentence that an adapter's token was learned in, with {} in its place.
std::string own_sentence(const LearnedConcept& found) {
  const std::string& sentence = found.info.classes.prompt_template;
  return sentence.find("{}") == std::string::npos ? "a photo of a {}" : sentence;
}

/// Rows that stand for what is asked for. The text encoder goes away with the call.
Steering steering_of(const fs::path& folder, const Request& request, const LearnedConcept* found, Json& settings) {
  Steering steering;
  steering.scale = request.scale;
  const bool rows = found != nullptr && found->has_rows() && !request.prompt;
  if (rows) steering.hidden = found->tensors.at("embeddings").to(at::kFloat).unsqueeze(0);
  if (rows && request.scale == 1.0) return steering;

  const at::NoGradGuard without_gradients;
  const TextEncoder encoder = TextEncoder::load(folder);
  if (request.scale != 1.0) {
    steering.empty = encoder.encode(std::vector<std::string>{request.negative.value_or("")});
    settings["negative"] = request.negative.value_or("");
  }
  if (rows) return steering;
  if (found != nullptr && found->has_token()) {
    const std::string sentence = request.prompt.value_or(own_sentence(*found));
    settings["prompt"] = sentence;
    steering.hidden = encoder.encode_filled(sentence, found->tensors.at("token").to(at::kFloat));
  } else {
    settings["prompt"] = *request.prompt;
    steering.hidden = encoder.encode(std::vector<std::string>{*request.prompt});
  }
  return steering;
}

std::shared_ptr<const UNet> tuned_network(const LearnedConcept& found, const UNetConfig& config) {
  NamedTensors tuned;
  tuned.origin = "adapter " + found.folder.string();
  for (const auto& [name, tensor] : found.tensors) {
    if (name.starts_with(kNetwork)) tuned.tensors[name.substr(kNetwork.size())] = tensor;
  }
  tuned.tensors = unet_file_tensors(config, tuned.tensors);
  return make_frozen_unet(config, tuned);
}

}  // namespace

LearnedConcept read_learned_concept(const fs::path& adapter, const DiffusionModel& model) {
  LearnedConcept found{adapter, read_adapter_info(adapter), {}};
  const std::string where = adapter.string();
  const auto task = json_or<std::string>(found.info.config, "task", "classification", where);
  if (task != "generation") {
    throw Error(fmt::format("adapter {}: expected one for generation, found {}", where, task));
  }
  if (found.info.weight_hash != model.weight_hash()) {
    throw Error(fmt::format("adapter {}: expected the diffusion model {} with weights {}, found {} with weights {}",
                            where, found.info.base_model, found.info.weight_hash, model.folder.string(),
                            model.weight_hash()));
  }
  found.tensors = read_adapter_tensors(adapter);
  if (!found.has_rows() && !found.has_token()) {
    throw Error(fmt::format("adapter {}: expected a tensor 'embeddings' or 'token', found neither", where));
  }
  check_rows(found, "embeddings", model.unet.hidden_width);
  check_rows(found, "token", model.unet.hidden_width);
  return found;
}

Generation prepare_generation(const fs::path& folder, const Request& request, const fs::path& hashes) {
  DiffusionOptions nothing;
  nothing.unet = nothing.vae = false;
  nothing.hashes = hashes;
  Generation result{load_diffusion_model(folder, nothing), {}, {}};
  std::optional<LearnedConcept> found;
  if (request.adapter) found = read_learned_concept(*request.adapter, result.model);
  const LearnedConcept* own = found ? &*found : nullptr;
  check_request(request, own, result.model);

  result.settings = {{"model", result.model.name}, {"base_model_sha256", result.model.weight_hash()}};
  if (own != nullptr) {
    result.settings["adapter"] = own->folder.string();
    result.settings["method"] = own->info.method;
    result.settings["concept"] = own->info.classes.names;
  }
  result.settings["prompt_scale"] = request.scale;
  result.steering = steering_of(folder, request, own, result.settings);

  DiffusionOptions rest = nothing;
  rest.vae = true;
  rest.unet = own == nullptr || !own->has_network();
  const std::string hash = result.model.weight_hash();
  result.model = load_diffusion_model(folder, rest);
  result.model.hash_ = hash;
  if (!rest.unet) result.model.frozen_unet = tuned_network(*own, result.model.unet);
  return result;
}

}  // namespace attune
