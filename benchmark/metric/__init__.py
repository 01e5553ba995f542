"""What a transferability estimate is: its score, its protocol and the bases that most share."""
