#include "attune/text/describe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/http.h"
#include "attune/base/json.h"
#include "attune/text/describe_answers.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongestWait = 60;  // seconds
constexpr std::size_t kShownBytes = 300;

/// Sleeps in short pieces; false on a request to stop.
bool wait_seconds(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < end) {
    if (stop_requested()) return false;
    std::this_thread::sleep_for(
        std::min<std::chrono::duration<double>>(end - Clock::now(), std::chrono::milliseconds(50)));
  }
  return !stop_requested();
}

/// A server's own words for people, without control characters and what is too long.
std::string shown(const std::string& text) {
  std::string plain;
  for (const char c : text.substr(0, kShownBytes)) plain += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return is_utf8(plain) ? plain : "(not UTF-8)";
}

Json request_of(const std::string& class_name, const std::string& question, int sample, const Questions& questions,
                const Endpoint& endpoint) {
  Json messages = Json::array();
  for (std::size_t i = 0; i < questions.examples.size(); ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", questions.examples[i]}});
  }
  messages.push_back({{"role", "user"}, {"content", fill(question, class_name)}});
  Json request = {{"model", endpoint.model},
                  {"messages", std::move(messages)},
                  {"temperature", questions.temperature},
                  {"max_tokens", questions.most_tokens},
                  {"seed", endpoint.seed + static_cast<std::uint64_t>(sample)}};
  if (!questions.stop.empty()) request["stop"] = Json::array({questions.stop});
  return request;
}

std::string answer_in(const std::string& body, const std::string& where) {
  const Json json = parse_json(body, where);
  const Json choices = json_at<Json>(json, "choices", where);
  if (!choices.is_array() || choices.empty()) {
    throw Error(fmt::format("{}: expected an answer in \"choices\", found {}", where, shown(body)));
  }
  const Json message = json_at<Json>(choices[0], "message", where);
  return json_or<std::string>(message, "content", "", where);
}

std::string chat_url(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url + "/chat/completions";
}

/// One server: the pace of requests, tries, and the cache.
class Asking {
 public:
  explicit Asking(const Endpoint& endpoint)
      : endpoint_(endpoint), client_(endpoint.timeout), url_(chat_url(endpoint.url)) {}

  /// False on a request to stop.
  bool ask(const Json& request, std::string& answer, bool& cached) {
    const std::string body = request.dump(-1, ' ', false, Json::error_handler_t::replace);
    const std::filesystem::path kept =
        endpoint_.cache.empty() ? std::filesystem::path{} : endpoint_.cache / (sha256(url_ + "\n" + body) + ".json");
    cached = !kept.empty() && std::filesystem::exists(kept);
    if (cached) {
      answer = json_at<std::string>(read_json(kept), "answer", kept.string());
      return true;
    }
    if (!post(body, answer)) return false;
    if (!kept.empty()) write_json(kept, {{"url", url_}, {"request", request}, {"answer", answer}});
    return true;
  }

 private:
  bool post(const std::string& body, std::string& answer) {
    std::vector<std::string> headers = {"Content-Type: application/json", "Accept: application/json"};
    if (!endpoint_.key.empty()) headers.push_back("Authorization: Bearer " + endpoint_.key);
    for (int tried = 0;; ++tried) {
      if (!keep_pace()) return false;
      const HttpAnswer found = client_.post(url_, headers, body);
      if (stop_requested() && found.status == 0) return false;
      if (found.status == 200) {
        answer = answer_in(found.body, url_);
        return true;
      }
      const std::string reason =
          found.status == 0 ? found.problem : fmt::format("status {}: {}", found.status, shown(found.body));
      const bool may_pass = found.status == 0 || found.status == 408 || found.status == 429 || found.status >= 500;
      if (!may_pass || tried >= endpoint_.retries) {
        throw Error(fmt::format("{}: expected an answer, found {} (after {} {})", url_, reason, tried + 1,
                                tried == 0 ? "try" : "tries"));
      }
      const double own = endpoint_.first_wait * std::pow(2.0, tried);
      const double wait = std::min(kLongestWait, found.retry_after >= 0 ? found.retry_after : own);
      log_warning(fmt::format("describe: {}; trying again in {:.3g} s", reason, wait));
      if (!wait_seconds(wait)) return false;
    }
  }

  bool keep_pace() {
    if (stop_requested()) return false;
    if (endpoint_.a_minute <= 0) return true;
    const auto now = Clock::now();
    if (next_ > now && !wait_seconds(std::chrono::duration<double>(next_ - now).count())) return false;
    next_ = std::max(next_, now) +
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(60 / endpoint_.a_minute));
    return true;
  }

  const Endpoint& endpoint_;
  HttpClient client_;
  std::string url_;
  Clock::time_point next_{};
};

void add_texts(std::vector<std::string>& texts, const std::string& answer, bool lists) {
  if (!lists) {
    texts.push_back(tidy_sentence(answer));
    return;
  }
  for (std::string& item : list_items(answer)) texts.push_back(std::move(item));
}

}  // namespace

Questions questions_named(std::string_view style) {
  if (style == "menon") {
    return {.texts = {"Which visible features help to recognise a {} in a picture?"},
            .examples = {"Which visible features help to recognise a lemur in a picture?",
                         "- a four-legged animal\n- gray, black or brown fur\n- a long tail with dark rings\n- large "
                         "round eyes\n- a pointed, wet nose",
                         "Which visible features help to recognise a television in a picture?",
                         "- an electronic device\n- a large flat screen\n- a thin black frame\n- a stand or a mount on "
                         "the wall\n- cables or a remote control nearby"},
            .lists = true};
  }
  if (style == "cupl") {
    return {.texts = {"Describe in one sentence how a {} looks.",
                      "How can one tell that a picture shows a {}? Answer in one sentence.",
                      "Write a caption for a picture of a {} that says what is seen."},
            .samples = 10,
            .temperature = 0.99,
            .most_tokens = 50,
            .stop = "."};
  }
  throw UsageError(fmt::format("--style: expected menon or cupl, found \"{}\"", style));
}

Described ask_about(const std::vector<std::string>& classes, const Questions& questions, const Endpoint& endpoint,
                    Progress* progress) {
  Asking asking(endpoint);
  Described described;
  const auto total = static_cast<std::int64_t>(classes.size() * questions.texts.size()) * questions.samples;
  for (const std::string& name : classes) {
    std::vector<std::string> texts;
    for (const std::string& question : questions.texts) {
      for (int sample = 0; sample < questions.samples; ++sample) {
        std::string answer;
        bool cached = false;
        if (!asking.ask(request_of(name, question, sample, questions, endpoint), answer, cached)) {
          described.stopped = true;
          return described;
        }
        ++(cached ? described.cached : described.asked);
        add_texts(texts, answer, questions.lists);
        if (progress != nullptr) progress->update(described.asked + described.cached, total, name);
      }
    }
    described.descriptions.of_class[name] = std::move(texts);
  }
  if (progress != nullptr) progress->finish();
  return described;
}

}  // namespace attune
