// The composer: the message to send, the model that answers it, and what the chat takes of the model's context.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { current, liveSpeed, loadModels, model, models, running, send, shownMessages, stop } from "../session";
import { change } from "../settings";

/** Texts that were not sent, by chat. */
const drafts = new Map<string, string>();

export function Composer() {
  const { id } = current.value;
  const [text, setOwnText] = useState(drafts.get(id) ?? "");
  const setText = (text: string) => {
    drafts.set(id, text);
    setOwnText(text);
  };
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => area.current?.focus(), []);
  useAutoHeight(area, text);
  const submit = () => {
    if (!text.trim() || running.value) return;
    setText("");
    void send(text);
  };
  return (
    <div class="composer">
      <form
        class="card"
        onSubmit={event => {
          event.preventDefault();
          submit();
        }}
      >
        <label for="message" class="for-screen-readers">
          Message
        </label>
        <textarea
          id="message"
          ref={area}
          rows={1}
          placeholder="Write a message"
          value={text}
          onInput={event => setText(event.currentTarget.value)}
          onKeyDown={event => onEnter(event, submit)}
        />
        <div class="card-row">
          <ModelSelect />
          {running.value ? (
            <button type="button" class="primary" onClick={stop}>
              Stop
            </button>
          ) : (
            <button type="submit" class="primary" disabled={!text.trim()}>
              Send
            </button>
          )}
        </div>
      </form>
      <ContextUse />
    </div>
  );
}

/** Calls `submit` for Enter, but neither with Shift nor while an input method composes a character. */
export function onEnter(event: KeyboardEvent, submit: () => void): void {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  submit();
}

/** Makes a text area as high as its text; the style sheet has the most. */
export function useAutoHeight(area: { current: HTMLTextAreaElement | null }, text: string): void {
  useLayoutEffect(() => {
    const { style } = area.current!;
    style.height = "auto";
    style.height = `${area.current!.scrollHeight}px`;
  }, [text]);
}

function ModelSelect() {
  return (
    <select
      aria-label="Model"
      value={model.value?.id ?? ""}
      onFocus={() => void loadModels()}
      onChange={event => change({ model: event.currentTarget.value })}
    >
      {models.value.length === 0 && <option value="">No model</option>}
      {models.value.map(({ id, status }) => (
        <option key={id} value={id}>
          {status && status.value !== "loaded" ? `${id} (${status.value})` : id}
        </option>
      ))}
    </select>
  );
}

function ContextUse() {
  const stats = shownMessages.value.findLast(message => message.stats)?.stats;
  const used = stats ? stats.promptTokens + stats.answerTokens : 0;
  const most = model.value?.max_model_len;
  const speed = liveSpeed.value;
  return (
    <p class="context">
      {stats && most && <progress max={most} value={used} aria-label="Context used" />}
      <span>
        {most
          ? `${used.toLocaleString("en")} of ${most.toLocaleString("en")} tokens of context`
          : stats
            ? `${used.toLocaleString("en")} tokens`
            : ""}
      </span>
      <span>{speed === null ? "" : `${speed.toFixed(1)} tokens/s`}</span>
    </p>
  );
}
