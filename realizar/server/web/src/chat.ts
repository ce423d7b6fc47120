// Chats: trees of messages. A message that is edited or regenerated gets a sibling, and each chat knows which is shown.

export type Role = "user" | "assistant" | "tool";

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

/** What the server counted for an answer, and how fast its tokens came. */
export interface Stats {
  promptTokens: number;
  answerTokens: number;
  tokensPerSecond: number | null;
}

export interface Message {
  id: string;
  parent: string | null;
  role: Role;
  text: string;
  thoughts?: string;
  calls?: ToolCall[];
  /** Of a tool's result: the call that it answers. */
  callId?: string;
  model?: string;
  stats?: Stats;
  /** Why an answer ended: the server's finish_reason, or "stopped" or "failed"; missing while it is written. */
  end?: string;
  error?: string;
}

export interface Chat {
  id: string;
  title: string;
  updated: number;
  messages: Record<string, Message>;
  /** Parent, or "" for the root, -> the one of its children that is shown. */
  shown: Record<string, string>;
}

const TITLE_LENGTH = 60;

/** Returns a random id; crypto.randomUUID exists only on HTTPS and localhost. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), byte => byte.toString(16).padStart(2, "0")).join("");
}

export function newChat(): Chat {
  return { id: `c${newId()}`, title: "New chat", updated: Date.now(), messages: {}, shown: {} };
}

/** Returns the messages with this parent, the oldest first. */
export function children(chat: Chat, parent: string | null): Message[] {
  return Object.values(chat.messages).filter(message => message.parent === parent);
}

/** Returns the messages that are shown, from the first one to the last. */
export function path(chat: Chat): Message[] {
  const found: Message[] = [];
  for (let next = chat.messages[chat.shown[""] ?? ""]; next; next = chat.messages[chat.shown[next.id] ?? ""]) {
    found.push(next);
  }
  return found;
}

/** Returns the messages from the first one to this one. */
export function pathTo(chat: Chat, id: string | null): Message[] {
  const found: Message[] = [];
  for (let next = chat.messages[id ?? ""]; next; next = chat.messages[next.parent ?? ""]) {
    found.unshift(next);
  }
  return found;
}

/** Returns a chat with one more message, which is shown. */
export function added(chat: Chat, message: Message): Chat {
  const isFirst = Object.keys(chat.messages).length === 0;
  return {
    ...chat,
    title: isFirst ? titleOf(message.text) : chat.title,
    updated: Date.now(),
    messages: { ...chat.messages, [message.id]: message },
    shown: { ...chat.shown, [message.parent ?? ""]: message.id },
  };
}

/** Returns a chat in which a message has other values. */
export function changed(chat: Chat, id: string, values: Partial<Message>): Chat {
  const message = chat.messages[id];
  if (!message) return chat;
  return { ...chat, updated: Date.now(), messages: { ...chat.messages, [id]: { ...message, ...values } } };
}

/** Returns a chat that shows this message in place of its siblings. */
export function showing(chat: Chat, message: Message): Chat {
  return { ...chat, shown: { ...chat.shown, [message.parent ?? ""]: message.id } };
}

function titleOf(text: string): string {
  const line = text.trim().split("\n", 1)[0] ?? "";
  const characters = Array.from(line);
  return characters.length <= TITLE_LENGTH
    ? line
    : `${characters
        .slice(0, TITLE_LENGTH - 1)
        .join("")
        .trimEnd()}…`;
}
