"""What several callbacks use: rates, loggers, drawing, checkpoint archives."""
