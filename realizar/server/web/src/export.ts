// Chats as files: JSON with all branches, and Markdown of the messages that are shown.
import { type Chat, path } from "./chat";

export function asJson(chats: Chat[]): string {
  return `${JSON.stringify({ format: "realizar-chats", version: 1, chats }, null, 2)}\n`;
}

export function asMarkdown(chat: Chat): string {
  const parts = [`# ${chat.title}`];
  for (const message of path(chat)) {
    if (message.role === "user") parts.push("## You", message.text);
    else if (message.role === "tool") parts.push("## Tool result", fenced(message.text, ""));
    else {
      parts.push(`## ${message.model || "Answer"}`);
      if (message.thoughts) parts.push(quoted(message.thoughts));
      if (message.text) parts.push(message.text);
      for (const call of message.calls ?? []) parts.push(`Tool call \`${call.name}\`:`, fenced(call.arguments, "json"));
      if (message.error) parts.push(`*${message.error}*`);
    }
  }
  return `${parts.map(part => part.trim()).join("\n\n")}\n`;
}

function quoted(text: string): string {
  return text.trim().replace(/^/gm, "> ");
}

/** Returns a block of code, whose fence is longer than any within it. */
function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...Array.from(text.matchAll(/`+/g), match => match[0].length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

/** Returns a name of letters, digits and hyphens for a chat's file. */
export function fileName(chat: Chat): string {
  const words = chat.title.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.slice(0, 8).join("-") || "chat";
}

/** Lets the browser save a text as a file. */
export function download(name: string, text: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
