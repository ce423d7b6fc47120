// The SDKs of OpenAI, Anthropic and Ollama for Node: helpers for tools, typed results and streams.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { ANSWER, City, DEGREES, ITALY, key, MODEL, Place, QUESTION, TOO_LONG, url, v1, WARM } from "./served.mjs";

const openai = new OpenAI({ baseURL: v1, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const ollama = new Ollama({ host: url, headers: { Authorization: `Bearer ${key}` } });
const user = (content) => [{ role: "user", content }];
const run = async ({ city }) => (assert.equal(city, "Oslo"), "17");

test("openai: a stream with its final completion", async () => {
  const stream = openai.chat.completions.stream({ model: MODEL, messages: user(QUESTION) });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert.equal(text, ANSWER);
  assert.equal(await stream.finalContent(), ANSWER);
});

test("openai: runTools calls a function and uses its result", async () => {
  const tools = [zodFunction({ name: "temperature", parameters: Place, function: run, description: "Of a city." })];
  for (const stream of [false, true]) {
    const runner = openai.chat.completions.runTools({ model: MODEL, messages: user(WARM), tools, stream });
    assert.equal(await runner.finalContent(), DEGREES);
  }
});

test("openai: parsed results", async () => {
  const response_format = zodResponseFormat(City, "city");
  const made = await openai.chat.completions.parse({ model: MODEL, messages: user("Describe Rome."), response_format });
  assert.deepEqual(made.choices[0].message.parsed, ITALY);
  const text = { format: zodTextFormat(City, "city") };
  const response = await openai.responses.parse({ model: MODEL, input: "Describe Rome.", text });
  assert.deepEqual(response.output_parsed, ITALY);
  const stream = openai.responses.stream({ model: MODEL, input: "Describe Rome.", text });
  assert.deepEqual((await stream.finalResponse()).output_parsed, ITALY);
});

test("openai: embeddings", async () => {
  const packed = await openai.embeddings.create({ model: MODEL, input: ["a cat"] });
  const plain = await openai.embeddings.create({ model: MODEL, input: ["a cat"], encoding_format: "float" });
  packed.data[0].embedding.forEach((value, i) => assert.ok(Math.abs(value - plain.data[0].embedding[i]) < 1e-6));
});

test("openai: errors", async () => {
  const chat = openai.chat.completions;
  await assert.rejects(chat.create({ model: "gone", messages: user("Hello") }), OpenAI.NotFoundError);
  await assert.rejects(
    chat.create({ model: MODEL, messages: user(TOO_LONG) }),
    (error) => error instanceof OpenAI.BadRequestError && error.code === "context_length_exceeded",
  );
  const barred = new OpenAI({ baseURL: v1, apiKey: "wrong" });
  await assert.rejects(barred.models.list(), OpenAI.AuthenticationError);
});

test("anthropic: a message, a stream, a count", async () => {
  const ask = { model: MODEL, max_tokens: 60, messages: user(QUESTION) };
  const message = await anthropic.messages.create(ask);
  assert.equal(message.content[0].text, ANSWER);
  const stream = anthropic.messages.stream(ask);
  const pieces = [];
  stream.on("text", (piece) => pieces.push(piece));
  assert.equal(await stream.finalText(), ANSWER);
  assert.equal(pieces.join(""), ANSWER);
  const counted = await anthropic.messages.countTokens({ model: MODEL, messages: user(QUESTION) });
  const { input_tokens, cache_read_input_tokens } = message.usage;
  assert.equal(counted.input_tokens, input_tokens + cache_read_input_tokens);
});

test("anthropic: the tool runner", async () => {
  const tools = [betaZodTool({ name: "temperature", inputSchema: Place, run, description: "Of a city." })];
  for (const stream of [false, true]) {
    const asked = { model: MODEL, max_tokens: 60, messages: user(WARM), tools, stream };
    const last = await anthropic.beta.messages.toolRunner(asked).runUntilDone();
    assert.equal(last.content[0].text, DEGREES);
  }
});

test("anthropic: errors", async () => {
  const ask = { model: MODEL, max_tokens: 60, messages: user("Hello") };
  await assert.rejects(anthropic.messages.create({ ...ask, model: "gone" }), Anthropic.NotFoundError);
  await assert.rejects(
    anthropic.messages.create({ ...ask, messages: user(TOO_LONG) }),
    (error) => error instanceof Anthropic.BadRequestError && /prompt is too long: \d+ tokens > 8192/.test(error.message),
  );
  const barred = new Anthropic({ baseURL: url, apiKey: "wrong" });
  await assert.rejects(barred.messages.create(ask), Anthropic.AuthenticationError);
});

test("ollama: an answer, a stream, embeddings, errors", async () => {
  const ask = { model: MODEL, messages: user(QUESTION) };
  assert.equal((await ollama.chat(ask)).message.content, ANSWER);
  let text = "";
  for await (const part of await ollama.chat({ ...ask, stream: true })) text += part.message.content;
  assert.equal(text, ANSWER);
  assert.equal((await ollama.embed({ model: MODEL, input: ["a cat", "a dog"] })).embeddings.length, 2);
  await assert.rejects(ollama.chat({ ...ask, model: "gone" }), /gone/);
});
