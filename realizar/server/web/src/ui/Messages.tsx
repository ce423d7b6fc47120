// The messages that are shown, and a scroll that follows what is written unless the user has scrolled away.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { current, running, shownMessages } from "../session";
import { MessageView } from "./MessageView";

/** How near to its end, in pixels, the list of messages follows what is written. */
const NEAR_PX = 80;

export function Messages() {
  const scroller = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const [isAway, setAway] = useState(false);
  const { id } = current.value;
  const messages = shownMessages.value;
  const last = messages.at(-1);
  const toEnd = () => {
    const element = scroller.current!;
    element.scrollTop = element.scrollHeight;
  };
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = scroller.current!;
    follows.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    setAway(!follows.current);
  };
  const follow = () => {
    follows.current = true;
    toEnd();
  };
  const begun = running.value?.message;
  useLayoutEffect(follow, [id]);
  useLayoutEffect(() => {
    if (begun) follow();
  }, [begun]);
  useLayoutEffect(() => {
    if (follows.current) toEnd();
  }, [last]);
  return (
    <div class="messages-frame">
      <div class="messages" ref={scroller} onScroll={onScroll} tabIndex={0} role="region" aria-label="Messages">
        <div class="column">
          {messages.map(message => (
            <MessageView
              key={message.id}
              chat={current.value}
              message={message}
              isLast={message === last}
              isWritten={running.value?.message === message.id}
              isBusy={running.value !== null}
            />
          ))}
        </div>
      </div>
      {isAway && (
        <button type="button" class="to-end" onClick={toEnd}>
          To the end
        </button>
      )}
    </div>
  );
}
