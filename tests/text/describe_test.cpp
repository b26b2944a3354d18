#include "attune/text/describe.h"

#include <cstdlib>

#include <gmock/gmock.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/base/json.h"
#include "attune/text/describe_answers.h"
#include "tests/support/local_server.h"

namespace attune {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::ThrowsMessage;

std::string completion(const std::string& content) {
  const Json body = {
      {"object", "chat.completion"},
      {"choices", Json::array({{{"index", 0}, {"message", {{"role", "assistant"}, {"content", content}}}}})}};
  return LocalServer::with("200 OK", body.dump(), "Content-Type: application/json\r\n");
}

Json body_of(const std::string& request) {
  return parse_json(request.substr(request.find("\r\n\r\n") + 4), "request");
}

Endpoint at(const LocalServer& server) {
  Endpoint endpoint;
  endpoint.url = server.url();
  endpoint.model = "small";
  endpoint.first_wait = 0.01;
  endpoint.timeout = 5;
  return endpoint;
}

const Questions kOne = {.texts = {"What does a {} look like?"}};

TEST(Describing, AsksEveryQuestionAboutEveryClassWithItsSettings) {
  const LocalServer server([](const std::string&, std::size_t) { return completion(" It is  red.\n"); });
  Endpoint endpoint = at(server);
  endpoint.key = "secret";
  const Questions questions = {
      .texts = {"A {}?", "Which {}?"}, .examples = {"Q", "A"}, .samples = 2, .temperature = 0.5, .stop = "."};
  const Described described = ask_about({"mail_box", "owl"}, questions, endpoint);
  EXPECT_EQ(described.asked, 8);
  EXPECT_THAT(described.descriptions.of_class.at("owl"),
              ElementsAre("It is red.", "It is red.", "It is red.", "It is red."));
  const std::vector<std::string> requests = server.requests();
  ASSERT_THAT(requests, SizeIs(8));
  EXPECT_THAT(requests[0], AllOf(HasSubstr("POST /v1/chat/completions"), HasSubstr("Authorization: Bearer secret")));
  const Json first = body_of(requests[0]), third = body_of(requests[2]);
  EXPECT_EQ(first["messages"], Json::parse(R"([{"role":"user","content":"Q"},{"role":"assistant","content":"A"},)"
                                           R"({"role":"user","content":"A mail box?"}])"));
  EXPECT_EQ(first["temperature"], 0.5);
  EXPECT_EQ(first["stop"], Json::array({"."}));
  EXPECT_EQ(first["model"], "small");
  EXPECT_NE(first["seed"], body_of(requests[1])["seed"]) << "samples differ";
  EXPECT_EQ(third["messages"][2]["content"], "Which mail box?");
}

TEST(Describing, ListsBecomeDescriptors) {
  const LocalServer server([](const std::string&, std::size_t) {
    return completion("Here are some:\n- two legs\n* a beak\n1. feathers\n\nThat is all.");
  });
  const Described described = ask_about({"hen"}, questions_named("menon"), at(server));
  EXPECT_THAT(described.descriptions.of_class.at("hen"), ElementsAre("two legs", "a beak", "feathers"));
}

TEST(Describing, AnswersThatAreKeptAreNotAskedForAgain) {
  const TemporaryFolder folder;
  const LocalServer server([](const std::string&, std::size_t number) {
    return number < 2 ? completion("answer " + std::to_string(number)) : LocalServer::with("400 Bad Request", "enough");
  });
  Endpoint endpoint = at(server);
  endpoint.cache = folder.path() / "cache";
  EXPECT_THROW(ask_about({"a", "b", "c"}, kOne, endpoint), Error) << "the third request is refused";
  const Described again = ask_about({"a", "b"}, kOne, endpoint);
  EXPECT_EQ(again.cached, 2);
  EXPECT_EQ(again.asked, 0);
  EXPECT_THAT(again.descriptions.of_class.at("b"), ElementsAre("answer 1."));
  endpoint.seed = 2;
  EXPECT_THROW(ask_about({"a"}, kOne, endpoint), Error) << "another seed, another answer";
}

TEST(Describing, FailuresThatMayPassAreTriedAgain) {
  const LocalServer server([](const std::string&, std::size_t number) -> std::string {
    if (number == 0) return LocalServer::with("503 Service Unavailable", "busy");
    if (number == 1) return LocalServer::with("429 Too Many Requests", "slow down", "Retry-After: 1\r\n");
    if (number == 2) return "";  // the connection ends
    return completion("yes.");
  });
  const auto begin = std::chrono::steady_clock::now();
  const Described described = ask_about({"a"}, kOne, at(server));
  EXPECT_THAT(described.descriptions.of_class.at("a"), ElementsAre("yes."));
  EXPECT_THAT(server.requests(), SizeIs(4));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(950)) << "as long as the server asked";
}

TEST(Describing, FailuresThatStayAreErrorsWithoutTheKey) {
  const LocalServer server(
      [](const std::string&, std::size_t) { return LocalServer::with("401 Unauthorized", "no such key"); });
  Endpoint endpoint = at(server);
  endpoint.key = "secret";
  EXPECT_THAT([&] { ask_about({"a"}, kOne, endpoint); },
              ThrowsMessage<Error>(AllOf(HasSubstr(server.url()), HasSubstr("401"), HasSubstr("no such key"),
                                         Not(HasSubstr("secret")))));
  EXPECT_THAT(server.requests(), SizeIs(1)) << "not tried again";
}

TEST(Describing, AServerThatIsNotThereIsAnErrorAfterTheRetries) {
  Endpoint endpoint;
  endpoint.url = "http://127.0.0.1:1/v1";
  endpoint.retries = 2;
  endpoint.first_wait = 0.01;
  EXPECT_THAT([&] { ask_about({"a"}, kOne, endpoint); }, ThrowsMessage<Error>(HasSubstr("3 tries")));
  endpoint.url = "file:///etc/passwd";
  endpoint.retries = 0;
  EXPECT_THROW(ask_about({"a"}, kOne, endpoint), Error);
}

TEST(Describing, WhatIsNoCompletionIsAnError) {
  for (const std::string body : {"hello", "{}", R"({"choices": []})", R"({"choices": [{"message": 3}]})", "[1]", ""}) {
    const LocalServer server([&](const std::string&, std::size_t) { return LocalServer::with("200 OK", body); });
    EXPECT_THROW(ask_about({"a"}, kOne, at(server)), Error) << body;
  }
}

TEST(Describing, RequestsKeepTheirPace) {
  const LocalServer server([](const std::string&, std::size_t) { return completion("yes."); });
  Endpoint endpoint = at(server);
  endpoint.a_minute = 600;
  const auto begin = std::chrono::steady_clock::now();
  ask_about({"a", "b", "c", "d"}, kOne, endpoint);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(290));
}

TEST(Describing, StylesAreThePublishedSettings) {
  EXPECT_EQ(questions_named("menon").most_tokens, 100);
  EXPECT_EQ(questions_named("menon").temperature, 0);
  EXPECT_EQ(questions_named("menon").examples.size(), 4u);
  EXPECT_EQ(questions_named("cupl").samples, 10);
  EXPECT_EQ(questions_named("cupl").texts.size(), 3u);
  EXPECT_THROW(questions_named("other"), UsageError);
}

TEST(Answers, SentencesAreTidied) {
  EXPECT_EQ(tidy_sentence("  A red\n thing "), "A red thing.");
  EXPECT_EQ(tidy_sentence("\"A red thing.\""), "A red thing.");
  EXPECT_EQ(tidy_sentence("It is red. It has two"), "It is red.");
  EXPECT_EQ(tidy_sentence(" \n "), "");
}

TEST(Answers, ListsWithoutMarksAreLines) {
  EXPECT_THAT(list_items("two legs\n\n a beak \n"), ElementsAre("two legs", "a beak"));
  EXPECT_THAT(list_items("• one\n2) two\n-three"), ElementsAre("one", "two"));
  EXPECT_THAT(list_items(""), IsEmpty());
}

TEST(Answers, ReviewLeavesOutWhatIsNoDescriptionAndRemarksOnTheRest) {
  Descriptions descriptions;
  descriptions.of_class["owl"] = {"A bird with big eyes.", "a bird, with big eyes", "I'm sorry, but I cannot help.",
                                  " .", "It looks like a snowy hen."};
  descriptions.of_class["hen"] = {"A bird with big eyes.", "Hens are birds."};
  descriptions.of_class["snowy owl"] = {"A white owl.", "Owls hunt at night."};
  const std::vector<Remark> remarks = review(descriptions);
  EXPECT_THAT(descriptions.of_class["owl"], ElementsAre("A bird with big eyes.", "It looks like a snowy hen."));
  std::vector<std::string> kinds;
  for (const Remark& one : remarks) kinds.push_back(one.class_name + " " + one.kind + " " + one.detail);
  EXPECT_THAT(kinds,
              ElementsAre("owl shared hen", "owl duplicate ", "owl refusal im sorry", "owl empty ", "owl leak hen"));
}

/// A model behind llama.cpp's server; its address is given, since the server and its model are large.
TEST(Describing, SlowARealServerAnswers) {
  const char* url = std::getenv("ATTUNE_LLM_ENDPOINT");
  if (url == nullptr) GTEST_SKIP() << "ATTUNE_LLM_ENDPOINT names no OpenAI-compatible server";
  Endpoint endpoint;
  endpoint.url = url;
  endpoint.model = "local";
  endpoint.timeout = 300;
  const Described described = ask_about({"hen"}, questions_named("menon"), endpoint);
  EXPECT_THAT(described.descriptions.of_class.at("hen"), Not(IsEmpty()));
}

}  // namespace
}  // namespace attune
