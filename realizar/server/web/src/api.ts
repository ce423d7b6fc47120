// Requests to the server: its models, streamed answers, and its errors in words. It asks for a key where one is needed.
import { signal } from "@preact/signals";
import { createParser } from "eventsource-parser";
import { inThisTab, store, stored } from "./storage";

export interface Model {
  id: string;
  /** Tokens of its context; missing while it is not loaded. */
  max_model_len?: number;
  status?: { value: string };
}

export interface CallDelta {
  index: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
}

/** A piece of an answer. */
export interface Piece {
  text: string;
  thoughts: string;
  calls: CallDelta[];
  end: string | null;
  usage: Usage | null;
}

/** An error in words for the user. */
export class Failure extends Error {
  constructor(
    message: string,
    /** Seconds after which the same request may succeed; null if it will not. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

interface KeyRequest {
  wasRefused: boolean;
  answer: (key: string | null) => void;
}

const key = signal(stored<string>(inThisTab, "key"));
/** Whether this tab knows a key. */
export const hasKey = (): boolean => key.value !== null;
/** The question for a key that waits for the user. */
export const keyRequest = signal<KeyRequest | null>(null);
let waitingForKey: Promise<string | null> | null = null;

export function forgetKey(): void {
  setKey(null);
}

function setKey(value: string | null): void {
  key.value = value;
  store(inThisTab, "key", value);
}

/** Asks the user for a key, once for all requests that need it. */
function askForKey(wasRefused: boolean): Promise<string | null> {
  waitingForKey ??= new Promise<string | null>(resolve => {
    keyRequest.value = { wasRefused, answer: resolve };
  }).then(found => {
    keyRequest.value = waitingForKey = null;
    if (found !== null) setKey(found);
    return found;
  });
  return waitingForKey;
}

async function request(path: string, init: RequestInit): Promise<Response> {
  for (;;) {
    const sent = key.value;
    const authorization: Record<string, string> = sent === null ? {} : { Authorization: `Bearer ${sent}` };
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers: { "Content-Type": "application/json", ...authorization } });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Failure("The server cannot be reached. It may have ended, or the network is down.");
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await failureOf(response);
    // Another request may have got a key from the user while this one was under way.
    const found = key.value !== sent ? key.value : await askForKey(sent !== null);
    if (found === null) throw new Failure("The server needs an API key.");
    init.signal?.throwIfAborted();
  }
}

const REASONS: Record<number, string> = {
  403: "The server does not allow this page to use it",
  404: "The server does not know this",
  408: "The request took too long to arrive",
  413: "The request is too large",
  429: "The server is busy",
  500: "The server failed",
  503: "The server cannot answer now",
};

async function failureOf(response: Response): Promise<Failure> {
  let detail: string;
  try {
    detail = messageOf(await response.json());
  } catch {
    detail = `status ${response.status}`; // of a proxy, for example
  }
  const reason = REASONS[response.status] ?? "The server refused the request";
  const seconds = Number(response.headers.get("Retry-After") ?? "1");
  const isTemporary = response.status === 429 || response.status === 503;
  return new Failure(`${reason}: ${detail}`, isTemporary ? (Number.isFinite(seconds) ? seconds : 1) : null);
}

function messageOf(body: unknown): string {
  const { error } = body as { error?: { message?: string } };
  return typeof error?.message === "string" ? error.message : "it gave no reason";
}

export async function listModels(): Promise<Model[]> {
  const response = await request("v1/models", {});
  return ((await response.json()) as { data: Model[] }).data;
}

interface Chunk {
  error?: { message?: string };
  usage?: Usage | null;
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null; tool_calls?: CallDelta[] };
    finish_reason?: string | null;
  }[];
}

/** Asks for an answer, and gives its pieces as they come; throws a Failure, or the signal's reason if it is aborted. */
export async function streamAnswer(body: object, signal: AbortSignal, onPiece: (piece: Piece) => void): Promise<void> {
  const response = await request("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  let isDone = false;
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === "[DONE]") isDone = true;
      else onPiece(pieceOf(JSON.parse(data) as Chunk));
    },
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) parser.feed(part.value);
  } catch (error) {
    if (signal.aborted || error instanceof Failure) throw error;
    throw new Failure("The connection to the server broke before the answer was complete.");
  }
  if (!isDone) throw new Failure("The server ended the answer before it was complete.");
}

function pieceOf(chunk: Chunk): Piece {
  if (chunk.error) throw new Failure(`The server failed: ${messageOf(chunk)}`);
  const choice = chunk.choices?.[0];
  return {
    text: choice?.delta?.content ?? "",
    thoughts: choice?.delta?.reasoning_content ?? "",
    calls: choice?.delta?.tool_calls ?? [],
    end: choice?.finish_reason ?? null,
    usage: chunk.usage ?? null,
  };
}
