// Settings: what they are, and which fields of a request they become.
import { signal } from "@preact/signals";
import { forever, store, stored } from "./storage";

export interface Settings {
  theme: "system" | "light" | "dark";
  model: string;
  system: string;
  temperature: string;
  top_p: string;
  top_k: string;
  min_p: string;
  max_tokens: string;
  seed: string;
  tools: string;
}

export interface NumberField {
  name: "temperature" | "top_p" | "top_k" | "min_p" | "max_tokens" | "seed";
  label: string;
  hint: string;
  min: number;
  max?: number;
  step: number | "any";
}

const UNSET: Settings = {
  theme: "system",
  model: "",
  system: "",
  temperature: "",
  top_p: "",
  top_k: "",
  min_p: "",
  max_tokens: "",
  seed: "",
  tools: "",
};

export const NUMBERS: NumberField[] = [
  { name: "temperature", label: "Temperature", hint: "0 always takes the most probable token", min: 0, step: "any" },
  { name: "top_p", label: "Top p", hint: "Only the most probable tokens, up to this sum", min: 0, max: 1, step: "any" },
  { name: "top_k", label: "Top k", hint: "Only so many of the most probable tokens", min: 0, step: 1 },
  { name: "min_p", label: "Min p", hint: "At least this share of the top probability", min: 0, max: 1, step: "any" },
  { name: "max_tokens", label: "Max tokens", hint: "Of an answer, thoughts included", min: 1, step: 1 },
  { name: "seed", label: "Seed", hint: "The same seed gives the same answer again", min: 0, step: 1 },
];

export const settings = signal<Settings>({ ...UNSET, ...stored<Partial<Settings>>(forever, "settings") });

/** Changes some settings, and keeps them. */
export function change(values: Partial<Settings>): void {
  settings.value = { ...settings.value, ...values };
  store(forever, "settings", settings.value);
  applyTheme();
}

/** Forgets all settings but the theme and the model. */
export function reset(): void {
  const { theme, model } = settings.value;
  change({ ...UNSET, theme, model });
}

/** Tells the style sheet which theme is chosen. */
export function applyTheme(): void {
  document.documentElement.dataset["theme"] = settings.value.theme;
}

/** Returns what is wrong with the text of the tools; "" if nothing is. */
export function toolsFault(text: string): string {
  try {
    parseTools(text);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function parseTools(text: string): object[] {
  if (!text.trim()) return [];
  const tools: unknown = JSON.parse(text);
  if (!Array.isArray(tools)) throw new Error("This must be a JSON list of tools, in OpenAI's form.");
  return tools as object[];
}

/** Returns the fields of a request that the settings set; others are the server's defaults. */
export function requestFields(): Record<string, unknown> {
  const { tools, ...rest } = settings.value;
  const fields: Record<string, unknown> = {};
  for (const { name } of NUMBERS) {
    const value = Number(rest[name]);
    if (rest[name].trim() !== "" && Number.isFinite(value)) fields[name] = value;
  }
  const listed = toolsFault(tools) ? [] : parseTools(tools);
  if (listed.length) fields["tools"] = listed;
  return fields;
}
