// The AI SDK (npm "ai") with its providers for OpenAI-compatible servers, OpenAI and Anthropic.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { ANSWER, City, DEGREES, ITALY, key, MODEL, Place, QUESTION, TOO_LONG, v1, WARM } from "./served.mjs";

const compatible = (apiKey = key) =>
  createOpenAICompatible({ name: "realizar", baseURL: v1, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const providers = {
  compatible: (name = MODEL, apiKey) => compatible(apiKey)(name),
  "openai chat": (name = MODEL, apiKey = key) => createOpenAI({ baseURL: v1, apiKey }).chat(name),
  "openai responses": (name = MODEL, apiKey = key) => createOpenAI({ baseURL: v1, apiKey }).responses(name),
  anthropic: (name = MODEL, apiKey = key) => createAnthropic({ baseURL: v1, apiKey })(name),
};
const temperature = tool({
  description: "Return the temperature in a city.",
  inputSchema: Place,
  execute: async ({ city }) => (assert.equal(city, "Oslo"), "17"),
});

for (const [name, model] of Object.entries(providers)) {
  const ask = { model: model(), maxRetries: 0, maxOutputTokens: 60 };

  test(`${name}: an answer and its usage`, async () => {
    const found = await generateText({ ...ask, prompt: QUESTION, system: "Be short." });
    assert.equal(found.text, ANSWER);
    assert.equal(found.finishReason, "stop");
    assert.ok(found.usage.inputTokens > 10 && found.usage.outputTokens > 5);
  });

  test(`${name}: a stream is the answer`, async () => {
    const found = streamText({ ...ask, prompt: QUESTION });
    const pieces = [];
    for await (const piece of found.textStream) pieces.push(piece);
    assert.equal(pieces.join(""), ANSWER);
    assert.ok(pieces.length > 3);
    assert.ok((await found.usage).outputTokens > 5);
  });

  for (const streams of [false, true]) {
    test(`${name}: a tool is called and its result used${streams ? ", in a stream" : ""}`, async () => {
      const asked = { ...ask, prompt: WARM, tools: { temperature }, stopWhen: stepCountIs(3) };
      const found = streams ? streamText(asked) : await generateText(asked);
      assert.equal(await found.text, DEGREES);
      assert.equal((await found.steps).length, 2);
    });
  }

  test(`${name}: objects`, async () => {
    const asked = { ...ask, prompt: "Describe Rome.", schema: City };
    assert.deepEqual((await generateObject(asked)).object, ITALY);
    const streamed = streamObject(asked);
    const parts = [];
    for await (const part of streamed.partialObjectStream) parts.push(part);
    assert.deepEqual(parts.at(-1), ITALY);
    assert.deepEqual(await streamed.object, ITALY);
  });

  test(`${name}: errors`, async () => {
    for (const [options, prompt, status] of [
      [{ model: model("gone") }, "Hello", 404],
      [{ model: model(MODEL, "wrong") }, "Hello", 401],
      [{}, TOO_LONG, 400],
    ]) {
      await assert.rejects(generateText({ ...ask, ...options, prompt }), (error) => error.statusCode === status);
    }
  });
}

test("embeddings", async () => {
  const found = await embedMany({ model: compatible().textEmbeddingModel(MODEL), values: ["a cat", "a dog"] });
  assert.equal(found.embeddings.length, 2);
  assert.ok(found.usage.tokens > 0);
});
