#include "attune/diffusion/text_encoder.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/json.h"
#include "attune/clip/folder.h"
#include "attune/clip/text_tower.h"
#include "attune/clip/weights.h"
#include "attune/formats/limits.h"
#include "attune/tensors/sequence_attention.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "text_model.";

/// The content of the special token `name` in a file of the tokenizer, which is a text or {"content": text}.
std::optional<std::string> special_token(const fs::path& path, const char* name) {
  if (!fs::exists(path)) return std::nullopt;
  const Json json = read_json(path, kConfigLimit);
  if (!json.is_object()) throw Error(path.string() + ": expected an object");
  const auto found = json.find(name);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->is_object() ? json_at<std::string>(*found, "content", path.string())
                            : json_at<std::string>(json, name, path.string());
}

/// The id of what a text is filled up with; the end token where the tokenizer's files say nothing, as CLIP's has it.
std::int64_t padding_of(const Tokenizer& tokenizer, const fs::path& folder) {
  for (const char* file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const auto content = special_token(folder / file, "pad_token");
    if (!content) continue;
    for (std::int64_t id = 0; id < tokenizer.size(); ++id) {
      if (tokenizer.token(id) == *content) return id;
    }
    throw Error(
        fmt::format("{}: expected a 'pad_token' of the vocabulary, found '{}'", (folder / file).string(), *content));
  }
  return tokenizer.end();
}

}  // namespace

TextConfig read_text_encoder_config(const fs::path& folder) {
  const fs::path path = folder / "text_encoder" / "config.json";
  const std::string where = path.string();
  const Json json = read_json(path, kConfigLimit);
  if (!json.is_object()) throw Error(where + ": expected an object");
  const auto type = json_or<std::string>(json, "model_type", "clip_text_model", where);
  if (type != "clip_text_model") {
    throw Error(fmt::format("{}: expected 'model_type' clip_text_model, found '{}'", where, type));
  }
  return read_text_config(json, where);
}

TextEncoder TextEncoder::load(const fs::path& folder) {
  TextEncoder encoder;
  encoder.config_ = read_text_encoder_config(folder);
  const TextConfig& text = encoder.config_;
  const fs::path words = folder / "tokenizer";
  encoder.tokenizer_ = std::make_shared<const Tokenizer>(Tokenizer::load(words));
  if (encoder.tokenizer_->size() > text.vocabulary) {
    throw Error(fmt::format("{}: expected a tokenizer of at most {} entries, as the text encoder has, found {}",
                            words.string(), text.vocabulary, encoder.tokenizer_->size()));
  }
  encoder.padding_ = padding_of(*encoder.tokenizer_, words);

  const fs::path weights = folder / "text_encoder";
  const NamedTensors source{map_tensors(weights), weights.string()};
  // Newer versions of transformers leave the prefix out.
  const std::string prefix(source.contains("embeddings.token_embedding.weight") ? "" : kPrefix);
  const auto norm = [&](const std::string& name) { return source.take(prefix + name, {text.width}); };
  encoder.tokens_ = source.take(prefix + "embeddings.token_embedding.weight", {text.vocabulary, text.width});
  encoder.positions_ = source.take(prefix + "embeddings.position_embedding.weight", {text.context_length, text.width});
  encoder.transformer_ =
      frozen_blocks({text.width, text.hidden, text.layers, text.heads, text.activation, text.norm_epsilon},
                    prefix + "encoder.layers.", source);
  encoder.final_ = {norm("final_layer_norm.weight"), norm("final_layer_norm.bias"), text.norm_epsilon};
  return encoder;
}

Tensor TextEncoder::ids(const std::vector<std::string>& texts) const {
  const auto count = static_cast<std::int64_t>(texts.size());
  Tensor ids = at::full({count, config_.context_length}, padding_, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string& text = texts[static_cast<std::size_t>(i)];
    std::vector<std::int64_t> row{tokenizer_->start()};
    const auto words = tokenizer_->encode(text);
    row.insert(row.end(), words.begin(), words.end());
    row.push_back(tokenizer_->end());
    if (static_cast<std::int64_t>(row.size()) > config_.context_length) {
      throw Error(fmt::format("text encoder: expected at most {} tokens with start and end, found {} in '{}'",
                              config_.context_length, row.size(), text));
    }
    std::copy(row.begin(), row.end(), ids[i].mutable_data_ptr<std::int64_t>());
  }
  return ids;
}

Tensor TextEncoder::embed(const Tensor& ids) const {
  return embed_tokens(tokens_, ids);
}

Tensor TextEncoder::encode(const Tensor& embedded) const {
  if (embedded.dim() != 3 || embedded.size(2) != config_.width || embedded.size(1) < 1 ||
      embedded.size(1) > config_.context_length) {
    throw Error(fmt::format("text encoder: expected embeddings [B, 1 to {}, {}], found [{}]", config_.context_length,
                            config_.width, fmt::join(embedded.sizes(), ", ")));
  }
  const auto count = embedded.size(0), length = embedded.size(1), heads = transformer_.heads;
  auto sequences = std::make_shared<std::vector<Sequence>>();
  for (std::int64_t i = 0; i < count; ++i) sequences->push_back({i * length, length, 0, 0, 0, i * length});
  const auto mixed_of = [&](const Tensor& fused) {
    if (attends_sequences(fused, heads)) return attend_sequences(fused, heads, sequences, count * length);
    const auto parts = fused.view({count, length, 3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind();
    return attend(parts[0], parts[1], parts[2], {}, true).reshape({count * length, config_.width});
  };
  Tensor rows = (embedded + positions_.narrow(0, 0, length)).reshape({count * length, config_.width});
  for (const auto& block : transformer_.blocks) {
    rows = finish_block(block, transformer_.activation, rows, mixed_of(fused_qkv(block, rows, {})), {});
  }
  return final_(rows).view({count, length, config_.width});
}

Tensor TextEncoder::encode(const std::vector<std::string>& texts) const {
  const at::NoGradGuard without_gradients;
  return encode(embed(ids(texts)));
}

Tensor TextEncoder::encode_filled(const std::string& text, const Tensor& tokens) const {
  const auto place = text.find("{}");
  if (place == std::string::npos || text.find("{}", place + 2) != std::string::npos) {
    throw UsageError(fmt::format("text encoder: expected one place {{}} for learned tokens, found '{}'", text));
  }
  const auto before = tokenizer_->encode(text.substr(0, place)), after = tokenizer_->encode(text.substr(place + 2));
  const std::int64_t count = std::ssize(before) + tokens.size(0) + std::ssize(after) + 2;
  if (count > config_.context_length) {
    throw UsageError(fmt::format("text encoder: expected at most {} tokens with start and end, found {} in '{}'",
                                 config_.context_length, count, text));
  }
  std::vector<std::int64_t> first{tokenizer_->start()}, last(after);
  first.insert(first.end(), before.begin(), before.end());
  last.push_back(tokenizer_->end());
  last.insert(last.end(), static_cast<std::size_t>(config_.context_length - count), padding_);
  const Tensor embedded = at::cat({embed(at::tensor(first, at::kLong)), tokens, embed(at::tensor(last, at::kLong))});
  return encode(embedded.unsqueeze(0));
}

void write_text_encoder(const fs::path& clip, const fs::path& folder, at::ScalarType type) {
  const auto description = describe_folder(clip);
  if (description.open_clip) {
    throw Error(clip.string() + ": expected a Hugging Face folder of a CLIP, found an OpenCLIP one");
  }
  const fs::path path = clip / "config.json";
  Json json = config_section(read_json(path, kConfigLimit), "text_config", path.string());
  json["architectures"] = {"CLIPTextModel"};
  json["model_type"] = "clip_text_model";
  json["dtype"] = type == at::kHalf ? "float16" : "float32";
  TensorMap tensors;
  for (const auto& [name, tensor] : map_tensors(clip)) {
    if (name.starts_with(kPrefix) && tensor.is_floating_point()) tensors[name] = tensor.to(type);
  }
  save_tensors(folder / "text_encoder" / "model.safetensors", tensors, {{"format", "pt"}});
  write_json(folder / "text_encoder" / "config.json", json);
  Tokenizer::load(clip).save(folder / "tokenizer", description.config.text.context_length);
}

}  // namespace attune
