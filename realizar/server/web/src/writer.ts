// AnswerWriter: joins the pieces of an answer, measures their speed, and writes them once for each frame of the screen.
import type { CallDelta, Piece, Usage } from "./api";
import type { Message, Stats, ToolCall } from "./chat";

const SAVE_EVERY_MS = 1000;
/** Hidden pages get no frames. */
const HIDDEN_MS = 250;
/** In a shorter time no speed can be measured: the pieces came together. */
const LEAST_MS = 50;

interface Target {
  /** Takes new values of the message, and the speed so far in pieces per second. */
  write: (values: Partial<Message>, speed: number | null) => void;
  save: () => void;
}

export class AnswerWriter {
  hasBegun = false;
  private text = "";
  private thoughts = "";
  private calls: ToolCall[] = [];
  private end: string | null = null;
  private usage: Usage | null = null;
  private nPieces = 0;
  private first = 0;
  private last = 0;
  private isScheduled = false;
  private isFinished = false;
  private savedAt = performance.now();

  constructor(private readonly target: Target) {}

  add(piece: Piece): void {
    this.text += piece.text;
    this.thoughts += piece.thoughts;
    for (const delta of piece.calls) this.calls = withDelta(this.calls, delta);
    this.end = piece.end ?? this.end;
    this.usage = piece.usage ?? this.usage;
    if (piece.text || piece.thoughts || piece.calls.length) {
      this.hasBegun = true;
      this.nPieces++;
      this.last = performance.now();
      this.first ||= this.last;
    }
    this.schedule();
  }

  /** Shows values that are no part of the answer. */
  show(values: Partial<Message>): void {
    this.target.write(values, null);
  }

  /** Writes what is left, and how the answer ended. */
  finish(values: Partial<Message>): void {
    this.isFinished = true;
    const end = this.end ?? "stop";
    this.target.write({ ...this.values(), stats: this.stats(), error: undefined, end, ...values }, null);
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    if (document.hidden) setTimeout(() => this.write(), HIDDEN_MS);
    else requestAnimationFrame(() => this.write());
  }

  private write(): void {
    this.isScheduled = false;
    if (this.isFinished) return;
    this.target.write(this.values(), this.perSecond(this.nPieces));
    if (performance.now() - this.savedAt > SAVE_EVERY_MS) {
      this.savedAt = performance.now();
      this.target.save();
    }
  }

  private values(): Partial<Message> {
    return {
      text: this.text,
      ...(this.thoughts ? { thoughts: this.thoughts } : {}),
      ...(this.calls.length ? { calls: this.calls } : {}),
    };
  }

  private stats(): Stats | undefined {
    if (!this.usage) return undefined;
    const { prompt_tokens: promptTokens, completion_tokens: answerTokens } = this.usage;
    return { promptTokens, answerTokens, tokensPerSecond: this.perSecond(answerTokens) };
  }

  /** Returns the speed of all but the first one of `n`, whose time is that of the prompt. */
  private perSecond(n: number): number | null {
    const ms = this.last - this.first;
    return ms < LEAST_MS ? null : ((n - 1) * 1000) / ms;
  }
}

function withDelta(calls: ToolCall[], delta: CallDelta): ToolCall[] {
  const found = [...calls];
  const call = found[delta.index] ?? { id: "", name: "", arguments: "" };
  found[delta.index] = {
    id: delta.id ?? call.id,
    name: delta.function?.name ?? call.name,
    arguments: call.arguments + (delta.function?.arguments ?? ""),
  };
  return found;
}
