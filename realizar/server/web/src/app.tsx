// The page: chats at the left, one of them in the middle, and dialogs.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { announcement, running, start, stop } from "./session";
import { applyTheme } from "./settings";
import { Chat } from "./ui/Chat";
import { KeyDialog } from "./ui/KeyDialog";
import { SettingsDialog } from "./ui/SettingsDialog";
import { Sidebar } from "./ui/Sidebar";

function App() {
  useEffect(() => {
    void start();
    const onKey = (event: KeyboardEvent) => {
      const isTaken = event.defaultPrevented || document.querySelector("dialog[open]") !== null;
      if (event.key === "Escape" && running.value && !isTaken) stop();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return (
    <>
      <a class="skip" href="#message">
        Skip to the message
      </a>
      <Sidebar />
      <Chat />
      <SettingsDialog />
      <KeyDialog />
      <div role="status" class="for-screen-readers">
        {announcement}
      </div>
    </>
  );
}

applyTheme();
render(<App />, document.body);
