// The chats of this browser, and a button for a new one.
import { useEffect, useRef } from "preact/hooks";
import { chats, current, openChat, running, startChat } from "../session";
import type { Summary } from "../storage";
import { isSidebarOpen } from "./state";

const DAY_MS = 86_400_000;

export function Sidebar() {
  const first = useRef<HTMLButtonElement>(null);
  const isOpen = isSidebarOpen.value;
  useEffect(() => {
    if (isOpen) first.current?.focus();
  }, [isOpen]);
  const close = () => (isSidebarOpen.value = false);
  const choose = (action: () => void) => {
    action();
    close();
    document.getElementById("message")?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !isOpen) return;
    event.preventDefault();
    close();
    document.getElementById("open-chats")?.focus();
  };
  return (
    <>
      <nav class={isOpen ? "sidebar open" : "sidebar"} aria-label="Chats" onKeyDown={onKeyDown}>
        <div class="sidebar-head">
          <span class="brand">realizar</span>
          <button type="button" class="quiet only-small" onClick={close}>
            Close
          </button>
        </div>
        <button type="button" class="new-chat" ref={first} onClick={() => choose(startChat)}>
          New chat
        </button>
        <div class="chat-list">
          {grouped(chats.value).map(([label, group]) => (
            <section key={label} aria-label={label}>
              <h2>{label}</h2>
              <ul>
                {group.map(chat => (
                  <li key={chat.id}>
                    <button
                      type="button"
                      title={chat.title}
                      aria-current={chat.id === current.value.id ? "true" : undefined}
                      onClick={() => choose(() => openChat(chat.id))}
                    >
                      <span>{chat.title}</span>
                      {running.value?.chat === chat.id && <small>writing</small>}
                    </button>
                  </li>
                ))}
              </ul>
            </section>
          ))}
          {chats.value.length === 0 && <p class="hint">Chats are kept in this browser, and nowhere else.</p>}
        </div>
      </nav>
      {isOpen && <div class="backdrop only-small" onClick={close} />}
    </>
  );
}

/** Returns chats by their age; the most recent come first, in groups too. */
function grouped(chats: Summary[]): [string, Summary[]][] {
  const today = new Date().setHours(0, 0, 0, 0);
  const labels: [string, number][] = [
    ["Today", today],
    ["Last seven days", today - 6 * DAY_MS],
    ["Earlier", 0],
  ];
  const left = [...chats];
  const found = labels.map(([label, since]): [string, Summary[]] => {
    const n = left.findIndex(({ updated }) => updated < since);
    return [label, left.splice(0, n < 0 ? left.length : n)];
  });
  return found.filter(([, group]) => group.length > 0);
}
