"""What the gateway says to people elsewhere: e-mail, webhooks, push messages."""
