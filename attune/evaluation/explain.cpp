#include "attune/evaluation/explain.h"

#include <algorithm>
#include <cmath>

#include "attune/evaluation/json_values.h"
#include "attune/methods/adapter.h"

namespace attune {
namespace {

/// At most `most` samples (0: all), in their order.
std::vector<Sample> some_of(const std::vector<Sample>& samples, std::int64_t most, std::uint64_t seed) {
  if (most == 0 || std::ssize(samples) <= most) return samples;
  std::vector<std::int64_t> chosen = random_order(std::ssize(samples), seed, "explain.pictures");
  chosen.resize(static_cast<std::size_t>(most));
  std::sort(chosen.begin(), chosen.end());
  std::vector<Sample> some;
  for (const std::int64_t i : chosen) some.push_back(samples[static_cast<std::size_t>(i)]);
  return some;
}

Json words_json(const std::vector<NearWord>& words, const char* measure) {
  Json list = Json::array();
  for (const NearWord& word : words) list.push_back({{"word", word.word}, {measure, word.value}});
  return list;
}

Json tokens_json(const std::vector<TokenWords>& tokens) {
  Json list = Json::array();
  for (const TokenWords& token : tokens) {
    Json one = {{"tensor", token.tensor}};
    if (!token.part.empty()) one["part"] = token.part;
    one["token"] = token.token;
    one["length"] = token.length;
    one["cosine"] = words_json(token.cosine, "cosine");
    one["l2"] = words_json(token.l2, "distance");
    list.push_back(std::move(one));
  }
  return list;
}

Json removal_json(const Removal& removal) {
  Json removed = Json::array();
  for (const RemovedToken& one : removal.removed) {
    removed.push_back({{"tensor", one.tensor}, {"token", one.token}, {"how", one.how}, {"acc1", one.acc1}});
  }
  return {{"pictures", removal.pictures},
          {"zero_shot_acc1", removal.zero_shot},
          {"acc1", removal.whole},
          {"removed", removed}};
}

Json distance_json(const MeanDistance& distance) {
  return {{"pairs", distance.pairs}, {"mean", number_or_null(distance.mean)}};
}

Json generated_json(const GeneratedPrompts& found) {
  Json points = Json::array(), labels = Json::array();
  for (const PromptPoint& point : found.points) {
    points.push_back({{"picture", point.picture}, {"domain", point.domain}, {"x", point.x}, {"y", point.y}});
  }
  for (const PromptLabel& label : found.labels) {
    labels.push_back({{"name", label.name},
                      {"largest_entry", label.largest_entry},
                      {"within_tanh", label.within_tanh},
                      {"distance", number_or_null(label.distance)},
                      {"x", label.x},
                      {"y", label.y}});
  }
  return {{"pictures", found.pictures},
          {"draws", found.draws},
          {"draws_differ", found.draws_differ},
          {"length", found.length},
          {"distance_between_draws", distance_json(found.between_draws)},
          {"distance_within_domains", distance_json(found.within_domains)},
          {"distance_between_domains", distance_json(found.between_domains)},
          {"generator", {{"numbers", found.parameters}, {"bytes", found.bytes}, {"ms_a_picture", found.generator_ms}}},
          {"naming_ms_a_picture", found.text_ms},
          {"labels", labels},
          {"mean_prompt", tokens_json(found.mean_words)},
          {"plane", {{"variance", found.variance_shown}, {"points", points}}}};
}

Json transports_json(const Transports& transports) {
  Json pictures = Json::array(), sentences = Json::array();
  for (const PictureTransport& one : transports.pictures) {
    pictures.push_back({{"class", one.class_name},
                        {"path", one.path},
                        {"domain", one.domain},
                        {"side", one.side},
                        {"prompts", one.prompts}});
  }
  for (const SentenceTransport& one : transports.sentences) {
    sentences.push_back(
        {{"class", one.class_name}, {"sentences", one.sentences}, {"plan", one.plan}, {"cosine", one.similarity}});
  }
  Json json = {{"pictures", pictures}, {"descriptions", sentences}};
  if (!transports.no_sentences.empty()) json["no_descriptions"] = transports.no_sentences;
  return json;
}

}  // namespace

Explanation explain(const std::shared_ptr<const ClipModel>& model, const std::filesystem::path& folder,
                    const std::optional<ExplainData>& data, const ExplainSettings& settings, const InputOptions& inputs,
                    const Provenance& provenance) {
  const AdapterInfo info = read_adapter_info(folder);
  const std::unique_ptr<Classifier> learned = load_adapter(folder, model);
  const TensorMap adapter = read_adapter_tensors(folder);
  const WordSpace space(*model, settings.pieces);

  Explanation found{
      folder.string(), info.method, model->config.name, "", "", provenance, space.scale(), {}, {}, {}, {}};
  found.tokens = words_of_adapter(adapter, space, info.classes.names, model->config.text.width, settings.words);
  if (!data) return found;
  found.dataset = data->dataset.name;
  found.part = data->part;
  const ClassNames classes{data->dataset.classes, data->dataset.prompt_template};
  learned->set_classes(classes);
  Inputs pictures(model, data->dataset, some_of(data->samples, settings.pictures, provenance.seed), inputs);
  if (auto* generator = dynamic_cast<GeneratesPrompts*>(learned.get())) {
    found.generated = look_at_prompts(*learned, *generator, pictures, adapter, space, settings.draws, settings.words);
  }
  if (auto* cells = dynamic_cast<TransportsCells*>(learned.get())) {
    found.transports =
        look_at_transports(*learned, *cells, pictures, data->dataset, model->preprocess, settings.shown_classes);
  }
  if (settings.removal) {
    found.removal = remove_tokens(model, info, adapter, classes, pictures, space.mean());
  }
  return found;
}

Json to_json(const Explanation& explanation) {
  const VocabularyScale& scale = explanation.vocabulary;
  Json json = {{"adapter", explanation.adapter},
               {"method", explanation.method},
               {"model", explanation.model},
               {"dataset", explanation.dataset},
               {"part", explanation.part},
               {"seed", explanation.provenance.seed},
               {"version", explanation.provenance.version},
               {"command", explanation.provenance.command},
               {"vocabulary",
                {{"entries", scale.entries},
                 {"mean_length", scale.length},
                 {"mean_nearest_cosine", scale.nearest_cosine},
                 {"mean_nearest_distance", scale.nearest_distance}}},
               {"tokens", tokens_json(explanation.tokens)}};
  if (explanation.removal) json["removal"] = removal_json(*explanation.removal);
  if (explanation.generated) json["generated"] = generated_json(*explanation.generated);
  if (explanation.transports) json["transport"] = transports_json(*explanation.transports);
  return json;
}

}  // namespace attune
