#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "attune/evaluation/explain.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"

namespace attune {
namespace {

constexpr std::size_t kOpenRows = 40;  // longer tables are folded
constexpr std::size_t kColours = 6, kShapes = 4;
constexpr double kPlotWidth = 720, kPlotHeight = 420, kMargin = 16;

std::string near_words(const std::vector<NearWord>& words) {
  std::string html;
  for (const NearWord& word : words) html += fmt::format("{} <small>{:.3f}</small> ", escape(word.word), word.value);
  return html;
}

std::string words_table(const std::string& caption, const std::vector<TokenWords>& tokens) {
  const bool parts = std::any_of(tokens.begin(), tokens.end(), [](const TokenWords& one) { return !one.part.empty(); });
  Table table{caption, {{"Token"}, {"Length", true}, {"Nearest by cosine"}, {"Nearest by L2 distance"}}, {}, "words"};
  for (const TokenWords& one : tokens) {
    const std::string name =
        parts ? fmt::format("{}, {}", shown_name(one.part), one.token + 1) : fmt::format("{}", one.token + 1);
    table.rows.push_back(
        {{{name}, {fmt::format("{:.3f}", one.length)}, {near_words(one.cosine)}, {near_words(one.l2)}}});
  }
  return html_table(table);
}

std::string words_section(const Explanation& found) {
  if (found.tokens.empty()) {
    return html_section("words", "Nearest words", "<p>This adapter holds no tokens of the text tower.</p>");
  }
  const VocabularyScale& scale = found.vocabulary;
  std::string body = html_note(fmt::format(
      "Looked up among {} entries of the vocabulary. To judge a number by: the entries' own nearest neighbour lies at "
      "a "
      "cosine of {:.3f} and a distance of {:.3f} on average, and their mean length is {:.3f}. A token that is further "
      "from every word than words are from each other has no meaning as a word. Tokens of later blocks (text.1 and on) "
      "live in those blocks' spaces; their nearest words are a convention of the field, not a reading.",
      whole(scale.entries), scale.nearest_cosine, scale.nearest_distance, scale.length));
  std::map<std::string, std::vector<TokenWords>> by_tensor;
  for (const TokenWords& one : found.tokens) by_tensor[one.tensor].push_back(one);
  for (const auto& [tensor, tokens] : by_tensor) {
    const std::string table = words_table(tensor, tokens);
    body +=
        tokens.size() > kOpenRows ? html_details(fmt::format("{}: {} tokens", tensor, tokens.size()), table) : table;
  }
  return html_section("words", "Nearest words", body);
}

std::string removal_section(const Removal& removal) {
  Table table{"Top-1 accuracy in per cent without a token or prompt",
              {{"Taken out"}, {"How"}, {"Accuracy", true, false, "number"}, {"Change", true, false, "number"}},
              {},
              "removal"};
  const int digits = sensible_digits(removal.pictures);
  const auto row = [&](const std::string& name, const std::string& how, double acc1, bool change) {
    table.rows.push_back({{{escape(name)},
                           {escape(how)},
                           {per_cent_plain(acc1, digits), acc1},
                           {change ? points(acc1 - removal.whole, digits) : "", acc1 - removal.whole}}});
  };
  row("nothing: the whole adapter", "", removal.whole, false);
  row("everything: zero-shot", "hand-written prompt", removal.zero_shot, true);
  for (const RemovedToken& one : removal.removed) {
    const bool prompt = one.how == "prompt left out";
    row(fmt::format("{}, {} {}", one.tensor, prompt ? "prompt" : "token", one.token + 1), one.how, one.acc1, true);
  }
  const std::string note =
      removal.removed.empty()
          ? "Prompts of this method are made for each picture, or no token of it enters the text tower: there is none "
            "to take out."
          : "A token is left out (the sentence becomes shorter) where the method allows it, else replaced by the mean "
            "word embedding, in later blocks by zeros. Tokens were learned together: small changes do not add up.";
  return html_section(
      "removal", "Without a token",
      html_note(fmt::format("Measured on {} pictures. {}", whole(removal.pictures), note)) + html_table(table));
}

std::string mark(std::size_t domain, double x, double y, double size, const std::string& title, bool label) {
  const std::string style = fmt::format("mark-{}{}", domain % kColours, label ? " label" : "");
  const std::string opacity = label ? "" : " fill-opacity=\"0.65\"";
  std::string shape;
  switch (domain % kShapes) {
    case 0:
      shape = fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"", x, y, size);
      break;
    case 1:
      shape = fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"", x - size * 0.9,
                          y - size * 0.9, size * 1.8, size * 1.8);
      break;
    case 2:
      shape = fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z\"", x, y - size * 1.1, size * 1.1, size * 2,
                          -size * 2.2);
      break;
    default:
      shape = fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z\"", x, y - size * 1.3,
                          size * 1.3, size * 1.3, -size * 1.3, size * 1.3, -size * 1.3, -size * 1.3);
  }
  return fmt::format("{} class=\"{}\"{}><title>{}</title></{}>", shape, style, opacity, escape(title),
                     domain % kShapes == 0   ? "circle"
                     : domain % kShapes == 1 ? "rect"
                                             : "path");
}

std::string scatter(const GeneratedPrompts& found) {
  std::map<std::string, std::size_t> domains;
  for (const PromptPoint& point : found.points) domains.try_emplace(point.domain, domains.size());
  double left = 1e300, right = -1e300, low = 1e300, high = -1e300;
  const auto reach = [&](double x, double y) {
    left = std::min(left, x), right = std::max(right, x), low = std::min(low, y), high = std::max(high, y);
  };
  for (const PromptPoint& point : found.points) reach(point.x, point.y);
  for (const PromptLabel& label : found.labels) reach(label.x, label.y);
  // One scale for both directions: distances in the plane are distances between prompts.
  const double scale = std::min((kPlotWidth - 2 * kMargin) / std::max(right - left, 1e-12),
                                (kPlotHeight - 2 * kMargin) / std::max(high - low, 1e-12));
  const auto at_x = [&](double x) { return kPlotWidth / 2 + (x - (left + right) / 2) * scale; };
  const auto at_y = [&](double y) { return kPlotHeight / 2 - (y - (low + high) / 2) * scale; };
  std::string marks, key;
  for (const PromptPoint& point : found.points) {
    marks +=
        mark(domains.at(point.domain), at_x(point.x), at_y(point.y), 3.2, point.domain + ": " + point.picture, false);
  }
  for (const PromptLabel& label : found.labels) {
    const std::size_t begin = label.name.find("labels.") + 7;
    const auto own = domains.find(label.name.substr(begin));
    marks +=
        mark(own == domains.end() ? 3 : own->second, at_x(label.x), at_y(label.y), 6, "learned: " + label.name, true);
  }
  for (const auto& [name, index] : domains) {
    if (!name.empty())
      key += fmt::format("<li><svg viewBox=\"0 0 26 10\" aria-hidden=\"true\">{}</svg>{}</li>",
                         mark(index, 13, 5, 4, name, false), shown_name(name));
  }
  return fmt::format(
      "{}<svg class=\"scatter\" role=\"img\" aria-label=\"Generated prompts of {} pictures in the plane of their two "
      "main "
      "directions, by domain\" viewBox=\"0 0 {:.0f} {:.0f}\"><rect class=\"frame\" width=\"{:.0f}\" "
      "height=\"{:.0f}\"/>{}</svg>\n",
      key.empty() ? "" : "<ul class=\"key\">" + key + "</ul>", found.pictures, kPlotWidth, kPlotHeight, kPlotWidth,
      kPlotHeight, marks);
}

std::string distance_text(const MeanDistance& distance) {
  return std::isfinite(distance.mean) ? fmt::format("{:.4f}", distance.mean) : "–";
}

std::string labels_table(const std::vector<PromptLabel>& labels) {
  if (labels.empty()) return "";
  Table table{
      "Prompts that were learned for a domain, and that the generator learned to make",
      {{"Prompt"}, {"Largest entry", true}, {"Mean distance of its domain's generated prompts", true}, {"Warning"}},
      {},
      ""};
  for (const PromptLabel& label : labels) {
    table.rows.push_back(
        {{{escape(label.name)},
          {fmt::format("{:.3f}", label.largest_entry)},
          {std::isfinite(label.distance) ? fmt::format("{:.4f}", label.distance) : "–"},
          {label.within_tanh ? "" : "outside (−1, 1): a generator that ends in tanh cannot make it"}}});
  }
  return html_table(table);
}

std::string generated_section(const GeneratedPrompts& found) {
  Table spread{fmt::format("Mean L2 distance between prompts of {} pictures; their mean length is {:.4f}",
                           whole(found.pictures), found.length),
               {{"Between"}, {"Pairs", true}, {"Distance", true}},
               {},
               ""};
  const auto row = [&](const std::string& name, const MeanDistance& distance) {
    spread.rows.push_back({{{name}, {whole(distance.pairs)}, {distance_text(distance)}}});
  };
  row(found.draws_differ ? fmt::format("{} draws for the same picture", found.draws)
                         : "draws for the same picture: this method has no noise",
      found.between_draws);
  row("pictures of the same domain", found.within_domains);
  row("pictures of different domains", found.between_domains);
  const std::string cost = html_note(fmt::format(
      "The generator has {} learned numbers ({:.1f} MB) and takes {:.3f} ms a prompt in batches; naming a picture with "
      "all classes takes {:.2f} ms.",
      whole(found.parameters), static_cast<double>(found.bytes) / 1e6, found.generator_ms, found.text_ms));
  const std::string plane = html_note(fmt::format(
      "Each small mark is the prompt of a picture, the outlined ones are learned prompts of domains. The two "
      "directions hold {} of the generated prompts' variance.",
      per_cent(found.variance_shown)));
  return html_section("generated", "Generated prompts",
                      html_table(spread) + cost + "<h3>Where they lie</h3>" + plane + scatter(found) +
                          "<h3>Learned prompts of the domains</h3>" + labels_table(found.labels) +
                          words_table("Nearest words of the mean generated prompt", found.mean_words));
}

/// A picture veiled where a prompt's mass is not.
std::string veiled(const PictureTransport& one, std::size_t index, const std::vector<double>& shares, double low,
                   double high) {
  const double cell = 128.0 / static_cast<double>(one.side);
  std::string veil;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double lit = high > low ? (shares[i] - low) / (high - low) : 1.0;
    const auto column = static_cast<double>(i % static_cast<std::size_t>(one.side));
    const auto row = static_cast<double>(i / static_cast<std::size_t>(one.side));
    veil += fmt::format(
        "<rect class=\"veil\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
        "fill-opacity=\"{:.2f}\"><title>{:.2f} %</title></rect>",
        column * cell, row * cell, cell, cell, 0.85 * (1 - lit), 100 * shares[i]);
  }
  return fmt::format("<svg viewBox=\"0 0 128 128\" aria-hidden=\"true\"><use href=\"#picture-{}\"/>{}</svg>", index,
                     veil);
}

std::string picture_block(const PictureTransport& one, std::size_t index) {
  double low = 1, high = 0;
  for (const std::vector<double>& prompt : one.prompts) {
    low = std::min(low, *std::min_element(prompt.begin(), prompt.end()));
    high = std::max(high, *std::max_element(prompt.begin(), prompt.end()));
  }
  std::string figures = fmt::format(
      "<figure><svg viewBox=\"0 0 128 128\" role=\"img\" aria-label=\"Image of {}\"><image id=\"picture-{}\" "
      "href=\"{}\" "
      "width=\"128\" height=\"128\"/></svg><figcaption>the picture</figcaption></figure>",
      shown_name(one.class_name), index, one.picture);
  for (std::size_t m = 0; m < one.prompts.size(); ++m) {
    figures += fmt::format("<figure>{}<figcaption>prompt {}</figcaption></figure>",
                           veiled(one, index, one.prompts[m], low, high), m + 1);
  }
  const double even = 1.0 / static_cast<double>(one.side * one.side);
  return fmt::format("<h3>{} <span class=\"tag\">{}</span></h3>{}<div class=\"cells\">{}</div>\n",
                     shown_name(one.class_name), shown_name(one.domain),
                     html_note(fmt::format("A cell holds {} to {} of a prompt's mass; evenly spread it would be {}.",
                                           per_cent(low, 2), per_cent(high, 2), per_cent(even, 2))),
                     figures);
}

std::string sentence_block(const SentenceTransport& one) {
  Table table{"", {{"Sentence"}}, {}, ""};
  table.caption = "Share of each prompt's mass in per cent, with the cosine";
  for (std::size_t m = 0; m < one.plan.size(); ++m) table.columns.push_back({fmt::format("Prompt {}", m + 1), true});
  for (std::size_t k = 0; k < one.sentences.size(); ++k) {
    TableRow row{{{escape(one.sentences[k])}}};
    for (std::size_t m = 0; m < one.plan.size(); ++m) {
      double mass = 0;
      for (const double share : one.plan[m]) mass += share;
      row.cells.push_back({fmt::format("{} <span class=\"sub\">{:.3f}</span>",
                                       per_cent_plain(mass > 0 ? one.plan[m][k] / mass : 0), one.similarity[m][k])});
    }
    table.rows.push_back(std::move(row));
  }
  return "<h3>" + shown_name(one.class_name) + "</h3>" + html_table(table);
}

std::string transport_sections(const Transports& transports) {
  std::string body = html_note(
      "Every prompt of the right class sends its mass to the picture's cells by optimal transport. Bright cells "
      "receive "
      "much of it, veiled ones little; the brightest and the darkest cell of a row of pictures set its scale, so look "
      "at the numbers too: a nearly even plan looks as lively as a sharp one.");
  for (std::size_t i = 0; i < transports.pictures.size(); ++i) body += picture_block(transports.pictures[i], i);
  std::string html = html_section("transport", "Prompts on pictures", body);
  if (!transports.no_sentences.empty()) {
    return html + html_section("descriptions", "Prompts and descriptions",
                               "<p>Left out: " + escape(transports.no_sentences) + "</p>");
  }
  if (transports.sentences.empty()) return html;
  std::string blocks;
  for (const SentenceTransport& one : transports.sentences) blocks += sentence_block(one);
  return html + html_section("descriptions", "Prompts and descriptions", blocks);
}

}  // namespace

std::string explain_page(const Explanation& found) {
  const std::string title = fmt::format("What {} learned", shown_method(found.method));
  const std::string data =
      found.dataset.empty() ? "" : fmt::format(", looked at on {} ({})", escape(found.dataset), escape(found.part));
  std::string body = fmt::format(
      "<header><p class=\"overline\">Attune explain</p><h1>{}</h1><p class=\"facts\">Adapter {} of the model "
      "{}{}.</p></header>\n<main>\n",
      escape(title), escape(found.adapter), escape(found.model), data);
  body += words_section(found);
  if (found.generated) body += generated_section(*found.generated);
  if (found.transports) body += transport_sections(*found.transports);
  if (found.removal) body += removal_section(*found.removal);
  body += fmt::format("</main>\n<footer>Written by Attune {}: <code>{}</code></footer>\n",
                      escape(found.provenance.version), escape(found.provenance.command));
  return html_page(title, body);
}

}  // namespace attune
