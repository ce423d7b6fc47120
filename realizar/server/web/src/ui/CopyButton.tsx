// A button that copies a text, also on pages without HTTPS, where browsers have no navigator.clipboard.
import { useState } from "preact/hooks";
import { announcement } from "../session";

const SHOWN_MS = 1500;

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [isCopied, setCopied] = useState(false);
  const onClick = async () => {
    const isDone = await copy(text);
    announcement.value = isDone ? `Copied the ${what}` : `The browser did not allow to copy the ${what}`;
    setCopied(isDone);
    setTimeout(() => setCopied(false), SHOWN_MS);
  };
  return (
    <button type="button" class="quiet" aria-label={`Copy ${what}`} onClick={() => void onClick()}>
      {isCopied ? "Copied" : "Copy"}
    </button>
  );
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const before = document.activeElement as HTMLElement | null;
  const area = document.createElement("textarea");
  area.className = "for-screen-readers";
  area.value = text;
  document.body.append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  before?.focus();
  return isDone;
}
