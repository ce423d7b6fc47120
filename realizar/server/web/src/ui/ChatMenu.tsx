// What can be done with the current chat as a whole: export and delete.
import { useEffect, useRef, useState } from "preact/hooks";
import { asJson, asMarkdown, download, fileName } from "../export";
import { current, removeChat } from "../session";
import { Confirm } from "./Dialog";

export function ChatMenu() {
  const menu = useRef<HTMLDetailsElement>(null);
  const [isAsking, setAsking] = useState(false);
  const chat = current.value;
  const close = () => menu.current?.removeAttribute("open");
  const choose = (action: () => void) => () => {
    close();
    action();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !menu.current?.open) return;
    event.preventDefault();
    close();
    menu.current.querySelector("summary")?.focus();
  };
  const onFocusOut = (event: FocusEvent) => {
    if (event.relatedTarget && !menu.current?.contains(event.relatedTarget as Node)) close();
  };
  useEffect(() => {
    const onPointerDown = (event: PointerEvent) => {
      if (!menu.current?.contains(event.target as Node)) close();
    };
    addEventListener("pointerdown", onPointerDown);
    return () => removeEventListener("pointerdown", onPointerDown);
  }, []);
  const save = (suffix: string, text: string, type: string) => download(`${fileName(chat)}.${suffix}`, text, type);
  return (
    <>
      <details class="menu" ref={menu} onKeyDown={onKeyDown} onFocusOut={onFocusOut}>
        <summary>More</summary>
        <div class="menu-items">
          <button type="button" onClick={choose(() => save("md", asMarkdown(chat), "text/markdown"))}>
            Export as Markdown
          </button>
          <button type="button" onClick={choose(() => save("json", asJson([chat]), "application/json"))}>
            Export as JSON
          </button>
          <button type="button" class="danger" onClick={choose(() => setAsking(true))}>
            Delete this chat
          </button>
        </div>
      </details>
      <Confirm
        title="Delete this chat?"
        text={`"${chat.title}" will be deleted from this browser.`}
        action="Delete"
        isOpen={isAsking}
        onClose={() => setAsking(false)}
        onConfirm={() => void removeChat(chat.id)}
      />
    </>
  );
}
