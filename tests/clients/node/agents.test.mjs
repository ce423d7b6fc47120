// @openai/agents and @langchain/openai: agents, handoffs, typed results.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatOpenAI } from "@langchain/openai";
import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { ANSWER, City, DEGREES, ITALY, key, MODEL, Place, QUESTION, v1, WARM } from "./served.mjs";

setTracingDisabled(true);
const client = new OpenAI({ baseURL: v1, apiKey: key, maxRetries: 0 });
const temperature = tool({
  name: "temperature",
  description: "Return the temperature in a city.",
  parameters: Place,
  execute: async ({ city }) => (assert.equal(city, "Oslo"), "17"),
});

for (const Model of [OpenAIChatCompletionsModel, OpenAIResponsesModel]) {
  const model = new Model(client, MODEL);

  test(`${Model.name}: an answer, a tool, a typed result`, async () => {
    assert.equal((await run(new Agent({ name: "one", model }), QUESTION)).finalOutput, ANSWER);
    assert.equal((await run(new Agent({ name: "one", model, tools: [temperature] }), WARM)).finalOutput, DEGREES);
    const typed = await run(new Agent({ name: "one", model, outputType: City }), "Describe Rome.");
    assert.deepEqual(typed.finalOutput, ITALY);
  });

  test(`${Model.name}: a handoff in a stream`, async () => {
    const handoffs = [new Agent({ name: "geographer", model })];
    const result = await run(new Agent({ name: "one", model, handoffs }), QUESTION, { stream: true });
    for await (const _ of result);
    assert.equal(result.lastAgent.name, "geographer");
    assert.match(result.finalOutput, /^Rome, says the geographer/);
  });
}

test("langchain: an answer, a tool, a typed result, a stream", async () => {
  const llm = new ChatOpenAI({ model: MODEL, apiKey: key, configuration: { baseURL: v1 }, maxRetries: 0 });
  assert.equal((await llm.invoke(QUESTION)).content, ANSWER);
  const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const own = { type: "function", function: { name: "temperature", parameters: schema } };
  assert.deepEqual((await llm.bindTools([own]).invoke(WARM)).tool_calls[0].args, { city: "Oslo" });
  assert.deepEqual(await llm.withStructuredOutput(City).invoke("Describe Rome."), ITALY);
  let text = "";
  for await (const chunk of await llm.stream(QUESTION)) text += chunk.content;
  assert.equal(text, ANSWER);
});
