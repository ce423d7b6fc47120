// A modal dialog: the browser keeps the focus in it, and closes it with Esc.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface Props {
  title: string;
  isOpen: boolean;
  onClose: () => void;
  children: ComponentChildren;
  class?: string;
}

export function Dialog({ title, isOpen, onClose, children, class: name = "" }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const isOwnClose = useRef(false);
  const id = useId();
  useEffect(() => {
    if (isOpen && !dialog.current!.open) dialog.current!.showModal();
    if (!isOpen && dialog.current!.open) {
      isOwnClose.current = true;
      dialog.current!.close();
    }
  }, [isOpen]);
  // The event comes later than the call, maybe when the dialog has been opened again.
  const onCloseEvent = () => {
    if (!isOwnClose.current) onClose();
    isOwnClose.current = false;
  };
  return (
    <dialog
      ref={dialog}
      class={name}
      aria-labelledby={id}
      onClose={onCloseEvent}
      onMouseDown={event => event.target === dialog.current && onClose()}
    >
      {isOpen && (
        <div class="dialog-body">
          <div class="dialog-head">
            <h2 id={id}>{title}</h2>
            <button type="button" class="quiet" onClick={onClose}>
              Close
            </button>
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}

interface ConfirmProps {
  title: string;
  text: string;
  action: string;
  isOpen: boolean;
  onClose: () => void;
  onConfirm: () => void;
}

/** Asks before something is lost. */
export function Confirm({ title, text, action, isOpen, onClose, onConfirm }: ConfirmProps) {
  const confirm = () => {
    onClose();
    onConfirm();
  };
  return (
    <Dialog title={title} isOpen={isOpen} onClose={onClose} class="small">
      <p>{text}</p>
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>
          Keep
        </button>
        <button type="button" class="danger" onClick={confirm}>
          {action}
        </button>
      </div>
    </Dialog>
  );
}
