// The session: the chats that are open, the answer that is being written, and everything that a user can do to them.
import { batch, computed, signal } from "@preact/signals";
import { Failure, type Model, listModels, streamAnswer } from "./api";
import { type Chat, type Message, type ToolCall, added, changed, newChat, newId, path, pathTo, showing } from "./chat";
import { requestFields, settings } from "./settings";
import { type Summary, allChats, deleteAllChats, deleteChat, saveChat } from "./storage";
import { AnswerWriter } from "./writer";

interface Running {
  chat: string;
  message: string;
  controller: AbortController;
}

/** Requests that the server refuses for now are sent again so often. */
const MOST_RETRIES = 20;

export const models = signal<Model[]>([]);
export const chats = signal<Summary[]>([]);
export const current = signal<Chat>(newChat());
export const running = signal<Running | null>(null);
/** Why the server cannot be used, and why chats are not kept; "" if nothing is wrong. */
export const serverFault = signal("");
export const storageFault = signal("");
/** What screen readers are told. */
export const announcement = signal("");
/** Seconds until a refused request is sent again; null if none waits. */
export const retrySeconds = signal<number | null>(null);
/** Tokens per second of the answer that is being written, as its pieces come. */
export const liveSpeed = signal<number | null>(null);

export const shownMessages = computed(() => path(current.value));
/** The model that answers: the chosen one if the server has it; undefined while none is known. */
export const model = computed(() => models.value.find(({ id }) => id === settings.value.model) ?? models.value[0]);

/** Chats of this session, by id; the browser's storage may lag behind or be missing. */
const open = new Map<string, Chat>();

export async function start(): Promise<void> {
  await Promise.all([loadModels(), loadChats()]);
}

export async function loadModels(): Promise<void> {
  try {
    models.value = await listModels();
    serverFault.value = "";
  } catch (error) {
    serverFault.value = words(error);
  }
}

async function loadChats(): Promise<void> {
  try {
    const found = await allChats();
    for (const chat of found) if (!open.has(chat.id)) open.set(chat.id, chat);
    listChats();
  } catch (error) {
    storageFault.value = `This browser keeps no history for this page: ${words(error)}`;
  }
}

function listChats(): void {
  const known = [...open.values()].filter(chat => Object.keys(chat.messages).length > 0);
  chats.value = known.sort((a, b) => b.updated - a.updated).map(({ id, title, updated }) => ({ id, title, updated }));
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the chat with this id, as it is now. */
function chatOf(id: string): Chat | undefined {
  return current.value.id === id ? current.value : open.get(id);
}

/** Replaces a chat by what `f` makes of it; one that was deleted meanwhile stays deleted. */
function update(id: string, f: (chat: Chat) => Chat): void {
  const chat = chatOf(id);
  if (!chat) return;
  const next = f(chat);
  open.set(id, next);
  if (current.value.id === id) current.value = next;
}

async function save(id: string): Promise<void> {
  const chat = open.get(id);
  if (!chat) return;
  listChats();
  try {
    const hasDeleted = await saveChat(chat);
    storageFault.value = "";
    if (hasDeleted) {
      const kept = new Set((await allChats()).map(({ id }) => id));
      for (const other of open.keys()) if (!kept.has(other) && other !== current.value.id) open.delete(other);
      listChats();
    }
  } catch (error) {
    storageFault.value = `This chat could not be kept in the browser: ${words(error)}`;
  }
}

export function startChat(): void {
  current.value = newChat();
}

export function openChat(id: string): void {
  const chat = open.get(id);
  if (chat) current.value = chat;
}

export async function removeChat(id: string): Promise<void> {
  if (running.value?.chat === id) stop();
  open.delete(id);
  if (current.value.id === id) startChat();
  listChats();
  await deleteChat(id).catch((error: unknown) => (storageFault.value = words(error)));
}

export async function removeAllChats(): Promise<void> {
  stop();
  open.clear();
  startChat();
  listChats();
  await deleteAllChats().catch((error: unknown) => (storageFault.value = words(error)));
}

/** Returns all chats, for export. */
export function everyChat(): Chat[] {
  return chats.value.map(({ id }) => chatOf(id)).filter(chat => chat !== undefined);
}

/** Shows another of the messages with the same parent. */
export function show(message: Message): void {
  update(current.value.id, chat => showing(chat, message));
  void save(current.value.id);
}

/** Sends a message after the last one. */
export async function send(text: string): Promise<void> {
  const last = shownMessages.value.at(-1);
  await ask({ id: `m${newId()}`, parent: last?.id ?? null, role: "user", text });
}

/** Sends another text in place of a message: a branch beside it. */
export async function resend(message: Message, text: string): Promise<void> {
  await ask({ id: `m${newId()}`, parent: message.parent, role: "user", text });
}

async function ask(message: Message): Promise<void> {
  const { id } = current.value;
  update(id, chat => added(chat, message));
  await answer(id, message.id);
}

/** Sends what tools returned for the calls of an answer. */
export async function sendResults(message: Message, results: string[]): Promise<void> {
  const { id } = current.value;
  let parent = message.id;
  (message.calls ?? []).forEach((call, i) => {
    const result: Message = { id: `m${newId()}`, parent, role: "tool", text: results[i] ?? "", callId: call.id };
    update(id, chat => added(chat, result));
    parent = result.id;
  });
  await answer(id, parent);
}

/** Asks for another answer in place of this one. */
export async function regenerate(message: Message): Promise<void> {
  await answer(current.value.id, message.parent);
}

export function stop(): void {
  running.value?.controller.abort();
}

/** Has the server answer the messages up to `parent`. */
async function answer(id: string, parent: string | null): Promise<void> {
  const chat = chatOf(id);
  if (!chat || running.value) return;
  const message: Message = { id: `m${newId()}`, parent, role: "assistant", text: "" };
  const body = {
    ...requestFields(),
    model: model.value?.id,
    messages: messagesOf(pathTo(chat, parent)),
    stream: true,
    stream_options: { include_usage: true },
  };
  const controller = new AbortController();
  batch(() => {
    update(id, chat => added(chat, { ...message, model: model.value?.id }));
    running.value = { chat: id, message: message.id, controller };
    liveSpeed.value = null;
    announcement.value = "The answer is being written";
  });
  void save(id);
  const writer = new AnswerWriter({
    write: (values, speed) => {
      update(id, chat => changed(chat, message.id, values));
      liveSpeed.value = speed;
    },
    save: () => void save(id),
  });
  try {
    await retrying(() => streamAnswer(body, controller.signal, piece => writer.add(piece)), writer, controller.signal);
    writer.finish({});
    announcement.value = "The answer is complete";
  } catch (error) {
    const isStopped = controller.signal.aborted;
    writer.finish(isStopped ? { end: "stopped" } : { end: "failed", error: words(error) });
    announcement.value = isStopped ? "Stopped" : "The answer failed";
  }
  batch(() => (running.value = retrySeconds.value = liveSpeed.value = null));
  void save(id);
  void loadModels(); // the model may have been loaded for this answer, and its context is known now
}

/** Sends a request, and again after a while as long as the server is busy or loading. */
async function retrying(request: () => Promise<void>, writer: AnswerWriter, aborted: AbortSignal): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      return await request();
    } catch (error) {
      const again = error instanceof Failure && !writer.hasBegun && i < MOST_RETRIES ? error.retryAfter : null;
      if (again === null) throw error;
      writer.show({ error: words(error) });
      await countdown(Math.max(1, again), aborted);
      writer.show({ error: undefined });
    }
  }
}

async function countdown(seconds: number, aborted: AbortSignal): Promise<void> {
  for (let left = Math.ceil(seconds); left > 0; left--) {
    aborted.throwIfAborted();
    retrySeconds.value = left;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, 1000);
      aborted.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
  }
  retrySeconds.value = null;
  aborted.throwIfAborted();
}

/** Returns messages in the form of the API, after the system prompt. */
function messagesOf(messages: Message[]): object[] {
  const { system } = settings.value;
  const found: { role: string; content: string }[] = system.trim() ? [{ role: "system", content: system }] : [];
  for (const { role, text, thoughts, calls, callId, end } of messages) {
    const sent = end === "tool_calls" ? calls?.map(asSent) : undefined; // others may be cut
    const before = found.at(-1);
    if (role === "assistant" && !text && !sent) continue; // it failed, or was stopped at once
    if (role === "user" && before?.role === "user") {
      before.content += `\n\n${text}`; // many templates need answers between questions
      continue;
    }
    found.push({
      role,
      content: text,
      ...(thoughts ? { reasoning_content: thoughts } : {}),
      ...(sent ? { tool_calls: sent } : {}),
      ...(callId ? { tool_call_id: callId } : {}),
    });
  }
  return found;
}

function asSent({ id, name, arguments: text }: ToolCall): object {
  return { id, type: "function", function: { name, arguments: text } };
}
