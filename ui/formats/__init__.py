"""What a case is handed on as: HTML, PDF, ClaimReview, evidence bundle. Each is made from one `Dossier`."""
