#include "attune/training/clip_pretraining.h"

#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/clip/contrastive.h"
#include "attune/training/pretrain_augment.h"
#include "attune/training/pretrain_data.h"
#include "attune/training/pretrain_evaluation.h"
#include "attune/training/pretrain_loop.h"
#include "attune/training/pretrain_model.h"

namespace attune {
namespace {

constexpr double kCollapsed = 0.99;  // mean pairwise cosine

/// Mean of 1 - cosine of unit rows with their targets.
Tensor regression_loss(const Tensor& rows, const Tensor& targets) {
  return 1 - (rows * targets).sum(1).mean();
}

class ClipRun {
 public:
  ClipRun(const ClipPretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        data_(settings.data),
        gate_(recipe_.text("benchmark"), settings.data),
        model_(pretrain_clip_config(recipe_, data_.width(), data_.targets().size(1)), recipe_.text("tokenizer"), seed_),
        tokens_(tokenise(model_.tokenizer(), data_.texts(), recipe_.integer("caption_tokens"))),
        loop_(recipe_, settings.out, settings.resume, progress) {
    if (loop_.resumed()) model_.load_state(loop_.saved());
  }

  bool run() {
    const auto stages = pretrain_stages(recipe_);
    return loop_.train(
        {stages.begin(), stages.end()},
        {.parameters = [&](const PretrainStage& stage) { return parameters(stage); },
         .loss = [&](const PretrainStage& stage, const PretrainPosition& at) { return loss(stage, at); },
         .terms = [&](const PretrainStage& stage, const PretrainPosition& at) { return terms(stage, at); },
         .evaluate = [&](const PretrainStage& stage, const PretrainPosition& at) { return evaluate(stage, at); },
         .state = [&] { return model_.state(); }});
  }

 private:
  std::vector<Parameter> parameters(const PretrainStage& stage) const {
    std::vector<Parameter> parameters;
    const auto add = [&](const std::vector<Parameter>& list) {
      parameters.insert(parameters.end(), list.begin(), list.end());
    };
    if (stage.kind != PretrainStage::Kind::kImage) add(model_.text_parameters());
    if (stage.kind != PretrainStage::Kind::kText) add(model_.image_parameters());
    return parameters;
  }

  Tensor loss(const PretrainStage& stage, const PretrainPosition& at) {
    image_ = text_ = Tensor();
    if (stage.kind == PretrainStage::Kind::kText) {
      const Tensor rows = text_order(stage.batch, at);
      const Tensor text = encode_rows(rows);
      text_ = text.detach();
      return regression_loss(text, data_.targets().index_select(0, rows));
    }
    const PretrainData::Batch batch = data_.draw(stage.batch, stage.share(at.step), seed_, at.draws);
    const Tensor targets = data_.targets().index_select(0, batch.text);
    const Tensor pixels = normalise_pixels(vary_drawings(batch.rgba, batch.mono, seed_, at.draws));
    const Tensor image = unit_rows(model_.encode_image(pixels));
    image_ = image.detach();
    if (stage.kind == PretrainStage::Kind::kImage) {
      return contrastive_loss(image, targets, batch.key, model_.scale());
    }
    const Tensor rows = at::cat({batch.text, text_order(stage.extra_texts, at)});
    const Tensor all = encode_rows(rows);
    const Tensor text = all.narrow(0, 0, stage.batch);
    text_ = text.detach();
    return contrastive_loss(image, text, batch.key, model_.scale()) +
           regression_loss(all, data_.targets().index_select(0, rows)) * stage.text_weight;
  }

  /// The next `count` texts of the endless sequence of shuffled passes over all training texts.
  Tensor text_order(std::int64_t count, const PretrainPosition& at) {
    Tensor rows = at::empty({count}, at::kLong);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t place = at.draws * count + i, pass = place / data_.training_texts();
      if (pass != pass_) {
        order_ = random_order(data_.training_texts(), seed_, "pretrain.texts", static_cast<std::uint64_t>(pass));
        pass_ = pass;
      }
      rows.data_ptr<std::int64_t>()[i] = order_[static_cast<std::size_t>(place % data_.training_texts())];
    }
    return rows;
  }

  Tensor encode_rows(const Tensor& rows) const {
    TokenTable texts;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      texts.push_back(tokens_[static_cast<std::size_t>(rows.const_data_ptr<std::int64_t>()[i])]);
    }
    return unit_rows(model_.encode_text(texts));
  }

  Json terms(const PretrainStage& stage, const PretrainPosition& at) const {
    Json terms = {{"scale", model_.scale().item<double>()}};
    const auto spread = [&](const char* name, const Tensor& rows) {
      if (!rows.defined()) return;
      const double cosine = mean_pairwise_cosine(rows);
      terms[name] = cosine;
      if (cosine > kCollapsed && at.step > stage.warmup) {
        throw Error(
            fmt::format("stage {}, step {}: expected features that differ, found a mean pairwise cosine of "
                        "{:.4f} ({}): the tower has collapsed; use a lower learning rate or a longer warm-up",
                        stage.name, at.step, cosine, name));
      }
    };
    spread("image_cosine", image_);
    spread("text_cosine", text_);
    return terms;
  }

  bool evaluation_due(const PretrainStage& stage, const PretrainPosition& at) const {
    const std::int64_t interval = recipe_.integer("evaluation.samples");
    const std::int64_t done = at.step * stage.batch;
    return at.step == stage.steps() || (interval > 0 && done / interval != (done - stage.batch) / interval);
  }

  std::optional<Json> evaluate(const PretrainStage& stage, const PretrainPosition& at) const {
    if (!evaluation_due(stage, at)) return std::nullopt;
    at::NoGradGuard no_grad;
    Json line = {{"stage", stage.name}, {"step", at.step}, {"samples", at.samples}};
    if (stage.kind != PretrainStage::Kind::kText) {
      line["evaluation"] = gate_.measure(
          [&](const std::vector<std::string>& texts) {
            return model_.encode_text(tokenise(model_.tokenizer(), texts, model_.config().text.context_length));
          },
          [&](const Tensor& pixels) { return model_.encode_image(pixels); });
      log_info(fmt::format("evaluation after {} samples\n{}", at.samples, summary(line["evaluation"])));
    } else {
      line["unseen_text_loss"] = unseen_text_loss();
      log_info(fmt::format("evaluation after {} samples: 1 - cosine on texts kept apart {:.4f}", at.samples,
                           line["unseen_text_loss"].get<double>()));
    }
    loop_.run().replace_model([&](const std::filesystem::path& folder) {
      model_.save_folder(folder);
      write_json(folder / "metrics.json", line);
    });
    return line;
  }

  /// The regression loss on the texts of evaluations, which no stage trains on.
  double unseen_text_loss() const {
    const std::int64_t first = data_.training_texts(), count = std::ssize(data_.texts()) - first;
    if (count == 0) return std::nan("");
    const Tensor rows = at::arange(first, first + count, at::kLong);
    return regression_loss(encode_rows(rows), data_.targets().narrow(0, first, count)).item<double>();
  }

  const Config& recipe_;
  std::uint64_t seed_;
  PretrainData data_;
  NamingGate gate_;
  PretrainModel model_;
  TokenTable tokens_;
  PretrainLoop loop_;
  Tensor image_, text_;  // unit rows of the last step; undefined where the stage leaves a tower alone
  std::int64_t pass_ = -1;
  std::vector<std::int64_t> order_;  // of the texts in that pass
};

}  // namespace

bool pretrain_clip(const ClipPretraining& pretraining, Progress* progress) {
  return ClipRun(pretraining, progress).run();
}

}  // namespace attune
