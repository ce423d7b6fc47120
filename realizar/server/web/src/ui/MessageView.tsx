// One message: a user's text, an answer with its thoughts and tool calls, or what a tool returned.
import { memo } from "preact/compat";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Chat, type Message, children } from "../chat";
import { Markdown } from "../markdown/Markdown";
import { regenerate, resend, retrySeconds, show } from "../session";
import { onEnter, useAutoHeight } from "./Composer";
import { CopyButton } from "./CopyButton";
import { Calls, Results, ToolResult } from "./Tools";

interface Props {
  chat: Chat;
  message: Message;
  isLast: boolean;
  isWritten: boolean;
  isBusy: boolean;
}

export const MessageView = memo(
  (props: Props) => {
    if (props.message.role === "user") return <UserMessage {...props} />;
    if (props.message.role === "tool") return <ToolResult chat={props.chat} message={props.message} />;
    return <Answer {...props} />;
  },
  (a, b) =>
    a.message === b.message &&
    a.isLast === b.isLast &&
    a.isWritten === b.isWritten &&
    a.isBusy === b.isBusy &&
    children(a.chat, a.message.parent).length === children(b.chat, b.message.parent).length,
);

function UserMessage({ chat, message, isBusy }: Props) {
  const [isEdited, setEdited] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  if (isEdited) return <Editor message={message} onClose={() => setEdited(false)} />;
  return (
    <article class="message user">
      <h2 class="for-screen-readers">You</h2>
      <p class="bubble">{message.text}</p>
      <div class="actions">
        <Branches chat={chat} message={message} isBusy={isBusy} />
        <CopyButton text={message.text} what="message" />
        <button type="button" class="quiet" ref={edit} disabled={isBusy} onClick={() => setEdited(true)}>
          Edit
        </button>
      </div>
    </article>
  );
}

function Editor({ message, onClose }: { message: Message; onClose: () => void }) {
  const [text, setText] = useState(message.text);
  const area = useRef<HTMLTextAreaElement>(null);
  useEffect(() => area.current?.focus(), []);
  useAutoHeight(area, text);
  const submit = () => {
    if (!text.trim()) return;
    onClose();
    void resend(message, text);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    onEnter(event, submit);
    if (event.key !== "Escape") return;
    event.preventDefault();
    onClose();
  };
  return (
    <article class="message user edited">
      <h2 class="for-screen-readers">You</h2>
      <textarea
        ref={area}
        aria-label="Edit the message"
        value={text}
        onInput={event => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="actions">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" class="primary" disabled={!text.trim()} onClick={submit}>
          Send
        </button>
      </div>
    </article>
  );
}

const ENDS: Record<string, string> = {
  length: "Cut: the answer reached the limit of its tokens, of the context or of its time.",
  stopped: "Stopped.",
};

function Answer({ chat, message, isLast, isWritten, isBusy }: Props) {
  const { text, thoughts, calls, error, end } = message;
  const isWaiting = isWritten && !text && !thoughts && !calls && !error;
  const cut = end === undefined && !isWritten ? "Interrupted: the page was closed." : ENDS[end ?? ""];
  return (
    <article class="message answer" aria-busy={isWritten}>
      <h2>{message.model || "Answer"}</h2>
      {thoughts && <Thoughts text={thoughts} isWritten={isWritten && !text && !calls} />}
      {isWaiting && <p class="waiting">Waiting for the first token</p>}
      {text && <Markdown text={text} isWritten={isWritten} />}
      {calls && <Calls calls={calls} />}
      {error && (
        <p class="error" role="alert">
          {error}
          {isWritten && retrySeconds.value !== null && (
            <span class="again">Trying again in {retrySeconds.value} s.</span>
          )}
        </p>
      )}
      {cut && <p class="cut">{cut}</p>}
      {!isWritten && (
        <div class="actions">
          <Branches chat={chat} message={message} isBusy={isBusy} />
          {text && <CopyButton text={text} what="answer" />}
          <button type="button" class="quiet" disabled={isBusy} onClick={() => void regenerate(message)}>
            {end === "failed" ? "Try again" : "Regenerate"}
          </button>
          <Speed message={message} />
        </div>
      )}
      {isLast && end === "tool_calls" && calls && <Results message={message} calls={calls} isBusy={isBusy} />}
    </article>
  );
}

function Thoughts({ text, isWritten }: { text: string; isWritten: boolean }) {
  return (
    <details class="thoughts">
      <summary>{isWritten ? "Thinking" : "Thoughts"}</summary>
      <Markdown text={text} isWritten={isWritten} />
    </details>
  );
}

function Speed({ message: { stats } }: { message: Message }) {
  if (!stats) return null;
  const speed = stats.tokensPerSecond === null ? "" : `, ${stats.tokensPerSecond.toFixed(1)} tokens/s`;
  return <span class="speed">{`${stats.answerTokens} ${stats.answerTokens === 1 ? "token" : "tokens"}${speed}`}</span>;
}

/** Which of the messages at this place is shown, and buttons for the others. */
function Branches({ chat, message, isBusy }: { chat: Chat; message: Message; isBusy: boolean }) {
  const all = children(chat, message.parent);
  const i = all.findIndex(({ id }) => id === message.id);
  if (all.length < 2) return null;
  const step = (to: number) => () => {
    const other = all[to];
    if (other) show(other);
  };
  return (
    <span class="branches" role="group" aria-label="Versions">
      <button type="button" class="quiet" disabled={isBusy || i === 0} onClick={step(i - 1)}>
        Previous
      </button>
      <span>{`${i + 1} of ${all.length}`}</span>
      <button type="button" class="quiet" disabled={isBusy || i === all.length - 1} onClick={step(i + 1)}>
        Next
      </button>
    </span>
  );
}
