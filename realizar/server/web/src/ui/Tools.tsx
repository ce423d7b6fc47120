// Tool calls of an answer, fields for what the tools return, and results that were sent.
import { useState } from "preact/hooks";
import type { Chat, Message, ToolCall } from "../chat";
import { sendResults } from "../session";

export function Calls({ calls }: { calls: ToolCall[] }) {
  return (
    <div class="calls">
      {calls.map((call, i) => (
        <details key={i} class="call" open>
          <summary>
            Tool call <code>{call.name}</code>
          </summary>
          <pre tabIndex={0} role="region" aria-label={`Arguments of ${call.name}`}>
            {readable(call.arguments)}
          </pre>
        </details>
      ))}
    </div>
  );
}

/** Returns arguments with line breaks; as they are while they are no complete JSON. */
function readable(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function Results({ message, calls, isBusy }: { message: Message; calls: ToolCall[]; isBusy: boolean }) {
  const [results, setResults] = useState<string[]>([]);
  const setResult = (i: number, text: string) => setResults(calls.map((_, j) => (i === j ? text : (results[j] ?? ""))));
  return (
    <form
      class="results"
      onSubmit={event => {
        event.preventDefault();
        void sendResults(message, results);
      }}
    >
      {calls.map((call, i) => (
        <label key={i} class="field">
          <span>Result of {call.name}</span>
          <textarea rows={2} value={results[i] ?? ""} onInput={event => setResult(i, event.currentTarget.value)} />
        </label>
      ))}
      <button type="submit" disabled={isBusy}>
        Send {calls.length === 1 ? "the result" : "the results"}
      </button>
    </form>
  );
}

export function ToolResult({ chat, message }: { chat: Chat; message: Message }) {
  const calls = Object.values(chat.messages).flatMap(other => other.calls ?? []);
  const name = calls.find(({ id }) => id === message.callId)?.name ?? "a tool";
  return (
    <article class="message">
      <details class="call">
        <summary>
          Result of <code>{name}</code>
        </summary>
        <pre tabIndex={0} role="region" aria-label={`Result of ${name}`}>
          {message.text}
        </pre>
      </details>
    </article>
  );
}
